//! The latency of established TLS connections while another process opens TLS connections to the
//! same shard as fast as it can.
//!
//!     cargo bench -p ringway-benches --bench storm [-- SECONDS]
//!
//! The server is one shard in this process, on a core of its own; everything else runs on another
//! core, the attackers with the lowest priority, so that the echoes are measured and not the wait
//! for that core. The row `busy clients` is the control: its process uses the core as much, and
//! opens no connections.

use ringway::{Config, Connection, Cores, Handler, Message, Request, Server, Shards, TlsConfig, Upgrade};
use ringway_codec::{OpCode, encode_client};
use ringway_testkit::certificates::Authority;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The established connections, which send in turn.
const ESTABLISHED: usize = 16;

/// The time from an echo to the next message.
const PAUSE: Duration = Duration::from_millis(2);

/// The size of a message in bytes.
const SIZE: usize = 20;

/// The threads of the attacking process, with one connection each.
const THREADS: usize = 32;

/// The attacks, by the names that the attacking process is given.
const ATTACKS: [&str; 4] = ["nothing", "busy clients", "full handshakes", "ClientHellos"];

struct Echo;

impl Handler for Echo {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

type TlsClient = StreamOwned<ClientConnection, TcpStream>;

fn open(server: SocketAddr, config: &Arc<ClientConfig>) -> Result<TlsClient, Box<dyn Error>> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    let connection = ClientConnection::new(Arc::clone(config), ServerName::from(server.ip()))?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(
        b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    match head.starts_with(b"HTTP/1.1 101") {
        true => Ok(stream),
        false => Err(String::from_utf8_lossy(&head).into()),
    }
}

/// The round trips of echoes, one every [`PAUSE`], over the established connections in turn.
fn measure(connections: &mut [TlsClient], time: Duration) -> io::Result<Vec<Duration>> {
    let mut frame = Vec::new();
    encode_client(OpCode::Binary, &[7; SIZE], [0; 4], &mut frame);
    let mut echo = [0; SIZE + 2];
    let (end, mut trips) = (Instant::now() + time, Vec::new());
    for index in (0..connections.len()).cycle() {
        if Instant::now() >= end {
            break;
        }
        let stream = &mut connections[index];
        let began = Instant::now();
        stream.write_all(&frame)?;
        stream.read_exact(&mut echo)?;
        trips.push(began.elapsed());
        thread::sleep(PAUSE);
    }
    trips.sort_unstable();
    Ok(trips)
}

/// Attacks `server` until the time is over. Returns the number of handshakes.
fn attack(name: &str, server: SocketAddr, time: Duration) -> Result<u64, Box<dyn Error>> {
    let end = Instant::now() + time;
    match name {
        "busy clients" => {
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            Ok(0)
        }
        "full handshakes" => full_handshakes(server, end),
        _ => client_hellos(server, end),
    }
}

/// Opens connections up to the answer to the upgrade, and closes them.
fn full_handshakes(server: SocketAddr, end: Instant) -> Result<u64, Box<dyn Error>> {
    let mut config = client_config(RootCertStore::empty())?;
    config.resumption = Resumption::disabled();
    config.dangerous().set_certificate_verifier(Arc::new(AnyServer));
    let config = Arc::new(config);
    let opened = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while Instant::now() < end {
                    if open(server, &config).is_ok() {
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    Ok(opened.into_inner())
}

/// Accepts every certificate and signature: the attackers spend no time on them.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Sends ClientHellos, waits for the first byte of each answer, and closes. This costs the attacker
/// less than the server.
fn client_hellos(server: SocketAddr, end: Instant) -> Result<u64, Box<dyn Error>> {
    let mut connection = ClientConnection::new(Arc::new(client_config(RootCertStore::empty())?), server.ip().into())?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello)?;
    let answered = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while Instant::now() < end {
                    let Ok(mut stream) = TcpStream::connect(server) else { continue };
                    if stream.write_all(&hello).is_ok() && stream.read(&mut [0]).is_ok_and(|len| len == 1) {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    Ok(answered.into_inner())
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    Ok(ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The attacking process: `--attack NAME ADDRESS SECONDS`.
fn attacker(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [name, server, seconds] = arguments else { return Err("--attack NAME ADDRESS SECONDS".into()) };
    rustix::process::nice(19)?;
    println!("{}", attack(name, server.parse()?, Duration::from_secs_f64(seconds.parse()?))?);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--attack") {
        return attacker(&arguments[at + 1..]);
    }
    let quick = arguments.iter().any(|argument| argument == "--test");
    let seconds = if quick { 0.2 } else { arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5.0) };
    let authority = Authority::root("bench");
    let identity = authority.issue(&["127.0.0.1"]);
    let tls = TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes())?;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let mut others = None;
    let mut config = Config::default();
    if let [first, .., last] = cores[..] {
        config = config.cores(Cores::List(vec![first.id]))?;
        others = Some(last);
    }
    let running = Server::bind("127.0.0.1:0")?.tls(&tls).shards(Shards::Count(1)).config(config).start(|_| Echo)?;
    let server = running.addresses()[0].tcp().expect("127.0.0.1 is an address of TCP");
    // After the start, which takes the cores that this thread may run on.
    others.map(core_affinity::set_for_current);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes())?)?;
    let client = Arc::new(client_config(roots)?);
    let mut connections =
        (0..ESTABLISHED).map(|_| open(server, &client)).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    println!("{:<16} {:>13} {:>8} {:>8} {:>8} {:>8}", "attack", "handshakes/s", "p50 ms", "p90 ms", "p99 ms", "max ms");
    for name in ATTACKS {
        // It begins before the measurement, and ends after it.
        let time = (seconds + 0.5).to_string();
        let attacker = (name != ATTACKS[0]).then(|| {
            Command::new(std::env::current_exe()?)
                .args(["--attack", name, &server.to_string(), &time])
                .stdout(Stdio::piped())
                .spawn()
        });
        let attacker = attacker.transpose()?;
        let trips = measure(&mut connections, Duration::from_secs_f64(seconds))?;
        let handshakes = match attacker {
            None => 0,
            Some(attacker) => {
                let output = attacker.wait_with_output()?;
                let text = String::from_utf8_lossy(&output.stdout);
                text.trim().parse::<u64>().map_err(|_| format!("the process of {name} failed: {:?}", output.status))?
            }
        };
        let at = |share: f64| trips[((trips.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "{name:<16} {:>13.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2}",
            handshakes as f64 / (seconds + 0.5),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    running.stop();
    running.wait()?;
    Ok(())
}
