//! The latency of one connection while others attack its shard: the round trip of a ping during
//! floods and compression bombs.
//!
//!     cargo bench -p ringway-benches --bench overload [-- SECONDS]
//!
//! The server is one shard in this process, on a core of its own; everything else runs on another
//! core. Each attack stays within the limits of a connection.

use ringway::{Config, Connection, Cores, Deflate, Handler, Limits, Message, Request, Server, Shards, Upgrade};
use ringway_codec::{Deflater, MessageKind, OpCode, WindowBits, encode_client, encode_deflated};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

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

/// The bytes that an attacker sends repeatedly.
struct Attack {
    name: &'static str,
    connections: usize,
    /// Sent once, before `bytes`.
    opening: Vec<u8>,
    bytes: Vec<u8>,
    /// In bits per second, for each connection; `None`: as fast as the server takes it.
    rate: Option<f64>,
}

fn client_frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_client(opcode, payload, [0; 4], &mut frame);
    frame
}

fn attacks() -> Vec<Attack> {
    let flood = |name, connections, frame: Vec<u8>| {
        let times = (256 * 1024 / frame.len()).max(1);
        Attack { name, connections, opening: Vec::new(), bytes: frame.repeat(times), rate: None }
    };
    let mut bomb = Vec::new();
    let mut deflater = Deflater::new(9, WindowBits::MAX).expect("a window that can be compressed with");
    encode_deflated(MessageKind::Binary, &vec![0; 16 << 20], Some([0; 4]), &mut deflater, false, &mut bomb);
    let bombs =
        |name, connections| Attack { name, connections, opening: Vec::new(), bytes: bomb.clone(), rate: Some(150e6) };
    let mut first = client_frame(OpCode::Binary, b"");
    first[0] &= 0x7f;
    let mut fragment = client_frame(OpCode::Continuation, b"");
    fragment[0] &= 0x7f;
    vec![
        Attack { name: "nothing", connections: 0, opening: Vec::new(), bytes: Vec::new(), rate: None },
        flood("empty messages", 1, client_frame(OpCode::Binary, b"")),
        flood("empty messages", 4, client_frame(OpCode::Binary, b"")),
        flood("pings", 2, client_frame(OpCode::Ping, b"")),
        flood("messages of 64 KiB", 4, client_frame(OpCode::Binary, &[7; 64 << 10])),
        Attack { opening: first, ..flood("empty fragments", 2, fragment) },
        bombs("16 KB that inflate to 16 MiB", 1),
        bombs("16 KB that inflate to 16 MiB", 3),
    ]
}

fn open(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.write_all(
        b"GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    match head.starts_with(b"HTTP/1.1 101") {
        true => Ok(stream),
        false => Err(io::Error::other(String::from_utf8_lossy(&head).into_owned())),
    }
}

/// Sends until `stop`, on a new connection when the server has closed the last one.
fn attack(server: SocketAddr, attack: &Attack, stop: &AtomicBool, sent: &AtomicU64) -> io::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let mut stream = open(server)?;
        let mut replies = stream.try_clone()?;
        let drain = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while replies.read(&mut buffer).is_ok_and(|len| len > 0) {}
        });
        let (began, mut written) = (Instant::now(), 0.0);
        let mut bytes = &attack.opening;
        while !stop.load(Ordering::Relaxed) && stream.write_all(bytes).is_ok() {
            sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            written += bytes.len() as f64 * 8.0;
            if let Some(rate) = attack.rate {
                let due = Duration::from_secs_f64(written / rate);
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
            bytes = &attack.bytes;
        }
        let _ = stream.shutdown(Shutdown::Both);
        drain.join().expect("draining does not panic");
    }
    Ok(())
}

/// The round trips of pings, one every 2 ms.
fn measure(server: SocketAddr, time: Duration) -> io::Result<Vec<Duration>> {
    let mut stream = open(server)?;
    let ping = client_frame(OpCode::Ping, b"now");
    let mut pong = [0; 5];
    let (end, mut trips) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let began = Instant::now();
        stream.write_all(&ping)?;
        stream.read_exact(&mut pong)?;
        trips.push(began.elapsed());
        thread::sleep(Duration::from_millis(2));
    }
    trips.sort_unstable();
    Ok(trips)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--test");
    let seconds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5.0);
    let time = Duration::from_secs_f64(if quick { 0.1 } else { seconds });
    // The server has a core of its own, so that the attackers' own CPU time is excluded.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let mut others = None;
    let mut config = Config::default().deflate(Some(Deflate::shared()));
    if let [first, .., last] = cores[..] {
        config = config.cores(Cores::List(vec![first.id]))?;
        others = Some(last);
    }
    let server = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).config(config).limits(Limits::default());
    let running = server.start(|_| Echo)?;
    let address = running.addresses()[0].tcp().expect("127.0.0.1 is an address of TCP");
    // After the start, which takes the cores that this thread may run on.
    others.map(core_affinity::set_for_current);
    println!("{:<30} {:>11} {:>9} {:>9} {:>9} {:>9}", "attack", "connections", "Mbit/s", "p50 ms", "p99 ms", "max ms");
    for plan in attacks() {
        let (plan, stop, sent) = (Arc::new(plan), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let attackers: Vec<_> = (0..plan.connections)
            .map(|_| {
                let (plan, stop, sent) = (Arc::clone(&plan), Arc::clone(&stop), Arc::clone(&sent));
                thread::spawn(move || attack(address, &plan, &stop, &sent))
            })
            .collect();
        let began = Instant::now();
        let trips = measure(address, time)?;
        let rate = sent.load(Ordering::Relaxed) as f64 * 8.0 / began.elapsed().as_secs_f64() / 1e6;
        stop.store(true, Ordering::Relaxed);
        for attacker in attackers {
            attacker.join().expect("an attacker does not panic")?;
        }
        let at = |share: f64| trips[((trips.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "{:<30} {:>11} {rate:>9.0} {:>9.2} {:>9.2} {:>9.2}",
            plan.name,
            plan.connections,
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
    running.stop();
    running.wait()?;
    Ok(())
}
