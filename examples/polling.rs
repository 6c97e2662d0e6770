//! Polling compared with a WebSocket: the same feed over HTTP and over a WebSocket, with the bytes
//! and the CPU time of the server for each update.
//!
//! ```sh
//! cargo run --release -p ringway --example polling -- [CLIENTS [UPDATES [INTERVAL [SECONDS]]]]
//! ```
//!
//! `UPDATES` is the number of updates a second, and `INTERVAL` the time between two polls of a
//! client in milliseconds. A client that polls asks for all updates since the last one that it has,
//! on a connection that is kept open, and gets 204 without a body if there are none. A client of the
//! WebSocket gets each update when it is published. Both receive every update.
//!
//! The bytes are those of HTTP and of WebSocket frames, opening handshakes included; the headers of
//! TCP and IP are not counted. The CPU time is that of the server's shard.

use ringway::{
    Connection, Handler, HeaderMap, Message, Prepared, Request, Response, Running, Server, Shard, Shards, StatusCode,
    Upgrade,
};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

/// The number of updates that the server keeps for clients that poll.
const HISTORY: usize = 4096;

/// The maximum number of updates in one response.
const MAX_BATCH: usize = 256;

/// A feed of numbered updates, which says when each was published.
struct Feed {
    /// All times count from here.
    epoch: Instant,
    period: Duration,
    next: Instant,
    /// The number of updates that remain to be published.
    left: u64,
    number: u64,
    updates: VecDeque<Update>,
}

struct Update {
    number: u64,
    line: String,
}

impl Handler for Feed {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}

    /// `/updates?after=NUMBER`: a line for each update after this one.
    fn request(&mut self, request: &Request<'_>) -> Response {
        let after = request.query_pairs().find(|(name, _)| name == "after").map(|(_, number)| number.parse::<u64>());
        let Some(Ok(after)) = after.filter(|_| request.path() == "/updates") else {
            return Response::text(StatusCode::NOT_FOUND, "ask for /updates?after=NUMBER");
        };
        let mut body = String::new();
        for update in self.updates.iter().filter(|update| update.number > after).take(MAX_BATCH) {
            body += &update.line;
            body.push('\n');
        }
        let status = if body.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::OK };
        Response::new(status, HeaderMap::new(), body.into_bytes())
    }

    /// The next update is due.
    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.number += 1;
        let price = 100_000 + self.number * 7919 % 1000;
        let line = format!("{} {} ABC {}.{:02}", self.number, micros(self.epoch), price / 100, price % 100);
        let message = Prepared::text(&line);
        shard.for_each_connection(|conn| drop(conn.send_prepared(&message)));
        if self.updates.len() == HISTORY {
            self.updates.pop_front();
        }
        self.updates.push_back(Update { number: self.number, line });
        self.next += self.period;
        shard.wake_at(self.next);
    }
}

/// The time since the epoch of the feed.
fn micros(epoch: Instant) -> u64 {
    epoch.elapsed().as_micros() as u64
}

/// What one client, or all of them, has received.
#[derive(Default)]
struct Received {
    updates: u64,
    requests: u64,
    bytes: u64,
    /// The time from the publication of each update until it was received, in microseconds.
    ages: Vec<u64>,
}

impl Received {
    /// Counts an update. Returns its number.
    fn update(&mut self, line: &str, epoch: Instant) -> io::Result<u64> {
        let mut words = line.split(' ').map(u64::from_str);
        let (Some(Ok(number)), Some(Ok(published))) = (words.next(), words.next()) else {
            return Err(io::Error::other(format!("not an update: {line:?}")));
        };
        self.updates += 1;
        self.ages.push(micros(epoch).saturating_sub(published));
        Ok(number)
    }

    fn add(&mut self, other: Self) {
        self.updates += other.updates;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.ages.extend(other.ages);
    }
}

/// Polls until the last update is received.
fn poll(server: SocketAddr, epoch: Instant, last: u64, interval: Duration) -> io::Result<Received> {
    let mut received = Received::default();
    let mut stream = BufReader::new(TcpStream::connect(server)?);
    let mut number = 0;
    let mut next = Instant::now();
    while number < last {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += interval;
        let request = format!("GET /updates?after={number} HTTP/1.1\r\nHost: {server}\r\n\r\n");
        stream.get_mut().write_all(request.as_bytes())?;
        received.requests += 1;
        received.bytes += request.len() as u64;
        let (head, length) = read_head(&mut stream)?;
        received.bytes += head as u64 + length as u64;
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        for line in String::from_utf8_lossy(&body).lines() {
            number = received.update(line, epoch)?;
        }
    }
    Ok(received)
}

/// Receives updates of a WebSocket until the last one (RFC 6455 section 5.2).
fn listen(server: SocketAddr, epoch: Instant, last: u64, is_open: &mpsc::Sender<()>) -> io::Result<Received> {
    let mut received = Received::default();
    let mut stream = BufReader::new(TcpStream::connect(server)?);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.get_mut().write_all(request.as_bytes())?;
    received.requests += 1;
    received.bytes += (request.len() + read_head(&mut stream)?.0) as u64;
    let _ = is_open.send(());
    let mut number = 0;
    while number < last {
        let mut header = [0; 2];
        stream.read_exact(&mut header)?;
        // Updates are short texts, and the server sends nothing else while they flow.
        let [0x81, length @ 0..=125] = header else {
            return Err(io::Error::other(format!("not a short text frame: {header:?}")));
        };
        let mut payload = vec![0; usize::from(length)];
        stream.read_exact(&mut payload)?;
        received.bytes += 2 + u64::from(length);
        number = received.update(&String::from_utf8_lossy(&payload), epoch)?;
    }
    Ok(received)
}

/// Reads the head of a response. Returns its length, and that of the body.
fn read_head(stream: &mut impl BufRead) -> io::Result<(usize, usize)> {
    let (mut head, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        head += stream.read_line(&mut line)?;
        let line = line.trim_end();
        if head == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.is_empty() {
            return Ok((head, length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
}

/// What is compared.
#[derive(Clone, Copy)]
struct Plan {
    clients: usize,
    /// Updates a second.
    rate: u32,
    interval: Duration,
    seconds: u32,
}

/// The figures of one way to receive the feed.
struct Outcome {
    received: Received,
    /// The CPU time of the server's shard.
    cpu: Duration,
}

/// Runs a server, and the clients in threads.
fn run(plan: Plan, is_polled: bool) -> Result<Outcome, Box<dyn Error>> {
    let epoch = Instant::now();
    let period = Duration::from_secs(1) / plan.rate;
    let last = u64::from(plan.rate) * u64::from(plan.seconds);
    let feed = move |_| Feed { epoch, period, next: epoch, left: last, number: 0, updates: VecDeque::new() };
    let running = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).start(feed)?;
    let server = running.addresses()[0].tcp().ok_or("the server listens on TCP")?;
    let (open, is_open) = mpsc::channel();
    let clients: Vec<_> = (0..plan.clients)
        .map(|_| {
            let open = open.clone();
            thread::spawn(move || match is_polled {
                true => open.send(()).map_err(io::Error::other).and_then(|()| poll(server, epoch, last, plan.interval)),
                false => listen(server, epoch, last, &open),
            })
        })
        .collect();
    drop(open);
    // A client that fails is reported below.
    let _ = is_open.iter().take(plan.clients).count();
    let before = shard_cpu(&running, true)?;
    let mut received = Received::default();
    for client in clients {
        received.add(client.join().map_err(|_| "a client panicked")??);
    }
    let cpu = shard_cpu(&running, false)?.saturating_sub(before);
    running.stop();
    running.wait()?;
    Ok(Outcome { received, cpu })
}

/// The CPU time that the shard has used. `begins`: the feed begins.
fn shard_cpu(running: &Running<Feed>, begins: bool) -> Result<Duration, Box<dyn Error>> {
    let (answer, answered) = mpsc::channel();
    running.handles()[0].post(move |feed, shard| {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let _ = answer.send(Duration::new(time.tv_sec as u64, time.tv_nsec as u32));
        if begins {
            feed.next = Instant::now();
            shard.wake_at(feed.next);
        }
    })?;
    Ok(answered.recv()?)
}

fn row(name: &str, Outcome { mut received, cpu }: Outcome) -> String {
    received.ages.sort_unstable();
    let millis = |share: f64| {
        let at = ((received.ages.len() as f64 * share) as usize).min(received.ages.len().saturating_sub(1));
        received.ages.get(at).map_or(0.0, |age| *age as f64 / 1000.0)
    };
    let each = |sum: f64| sum / received.updates.max(1) as f64;
    format!(
        "{name:26}{:>9}{:>10}{:>14.1}{:>12.2}{:>12.2}{:>12.2}\n",
        received.updates,
        received.requests,
        each(received.bytes as f64),
        each(cpu.as_secs_f64() * 1e6),
        millis(0.5),
        millis(1.0),
    )
}

fn compare() -> Result<String, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut number = |name: &str, default: u32, max: u32| match arguments.next() {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(number) if (1..=max).contains(&number) => Ok(number),
            _ => Err(format!("{name} is {text}: give 1 to {max}")),
        },
    };
    let clients = number("CLIENTS", 20, 1000)? as usize;
    let rate = number("UPDATES", 10, 1000)?;
    let interval = Duration::from_millis(number("INTERVAL", 100, 10_000)?.into());
    let seconds = number("SECONDS", 5, 3600)?;
    let plan = Plan { clients, rate, interval, seconds };
    let mut text = String::new();
    writeln!(text, "{clients} clients, {rate} updates a second, {seconds} s; bytes, CPU time and age of one update\n")?;
    let columns = ["updates", "requests", "bytes", "CPU µs", "age p50 ms", "max ms"];
    writeln!(
        text,
        "{:26}{:>9}{:>10}{:>14}{:>12}{:>12}{:>12}",
        "", columns[0], columns[1], columns[2], columns[3], columns[4], columns[5]
    )?;
    text += &row(&format!("HTTP, polled each {interval:?}"), run(plan, true)?);
    text += &row("WebSocket", run(plan, false)?);
    Ok(text)
}

fn main() -> ExitCode {
    match compare() {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("polling: {error}");
            ExitCode::FAILURE
        }
    }
}
