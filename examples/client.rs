//! A client: sends the lines of its standard input, prints the messages that it receives, and
//! connects again when the connection is lost.
//!
//! ```sh
//! cargo run --release -p ringway --example client -- ws://127.0.0.1:9001/ [ORIGIN]
//! ```
//!
//! Messages go to standard output, everything else to standard error. At the end of its input the
//! client waits for the answers to what it has sent, and closes the connection.
//!
//! A line that is sent just before the connection is lost may be lost with it: only a reply of the
//! application can confirm that a message has arrived. Lines that wait are kept for the next
//! connection; when 1024 of them wait, no more input is read.

use ringway::{
    Client, CloseCode, CloseReason, Config, ConnectError, Connection, Ending, Endpoint, Handler, HandshakeError,
    Message, Request, SendOutcome, Shard, ShardHandle, Shards, Upgrade,
};
use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, mem, thread};

/// The shortest and the longest delay before the client connects again.
const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// The number of lines that may wait for the connection.
const QUEUE: usize = 1024;

/// The payload of the ping that is sent behind the last line.
const END: &[u8] = b"end of input";

/// The handler of one server, to which it connects again and again.
struct LineClient {
    endpoint: Arc<Endpoint>,
    /// Shared only because a handler is made by a function that could be called for several shards.
    lines: Arc<Mutex<Receiver<String>>>,
    /// A line that was handed back.
    unsent: Option<String>,
    /// The delay before the next attempt.
    delay: Duration,
    /// For an error that another attempt would not change.
    fatal: Sender<String>,
}

impl LineClient {
    /// Sends lines until there are no more, or the connection takes no more.
    fn send_lines(&mut self, conn: &mut Connection<'_, Self>) {
        loop {
            let line = match self.unsent.take().map_or_else(|| self.next_line(), Ok) {
                Ok(line) => line,
                Err(TryRecvError::Empty) => return,
                // The input has ended. A server answers messages in order, so its pong comes behind
                // the answers to all lines.
                Err(TryRecvError::Disconnected) => {
                    if !mem::replace(conn.state(), true) {
                        conn.ping(END).expect("it has less than 125 bytes");
                    }
                    return;
                }
            };
            match conn.send(Message::text(&line)) {
                SendOutcome::Sent | SendOutcome::Queued(_) => {}
                // `drained` or `open` sends it later.
                _ => return self.unsent = Some(line),
            }
        }
    }

    fn next_line(&self) -> Result<String, TryRecvError> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).try_recv()
    }

    /// Connects again after a delay, which doubles with each attempt.
    fn retry(&mut self, shard: &mut Shard<'_, Self>, why: &dyn std::fmt::Display) {
        // Between half of the delay and all of it, so that the clients of a server that was
        // restarted do not all reconnect at once.
        let random = RandomState::new().build_hasher().finish() as u32;
        let delay = self.delay / 2 + self.delay.mul_f64(f64::from(random) / f64::from(u32::MAX)) / 2;
        self.delay = (self.delay * 2).min(MAX_DELAY);
        eprintln!("client: {why}; connecting again in {} ms", delay.as_millis());
        shard.wake_at(shard.turn_time() + delay);
    }

    /// Stops, because of an error that another attempt would not change.
    fn give_up(&self, shard: &mut Shard<'_, Self>, why: String) {
        let _ = self.fatal.send(why);
        shard.stop();
    }
}

impl Handler for LineClient {
    /// Whether the ping behind the last line has been sent.
    type State = bool;

    /// Not called: a client accepts no connections.
    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<bool> {
        Upgrade::accept(false)
    }

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        self.woken(shard);
    }

    /// The delay is over.
    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        shard.connect(&self.endpoint, false);
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.delay = MIN_DELAY;
        eprintln!("client: connected");
        self.send_lines(conn);
    }

    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        self.send_lines(conn);
    }

    /// Prints a message. A reader that is slow stops this shard meanwhile, and with it the peer.
    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let line = match message.as_text() {
            // The peer must not control the terminal.
            Some(text) => text.replace(char::is_control, "\u{fffd}"),
            None => format!("({} binary bytes)", message.payload().len()),
        };
        if let Err(error) = writeln!(io::stdout(), "{line}") {
            self.give_up(&mut conn.shard(), format!("cannot write to standard output: {error}"));
        }
    }

    fn pong(&mut self, conn: &mut Connection<'_, Self>, payload: &[u8]) {
        if payload == END {
            conn.close(CloseCode::NORMAL, "").expect("1000 may be sent");
        }
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, _: bool, reason: &CloseReason) {
        match &reason.ending {
            // The input has ended, or a signal was received.
            Ending::Local | Ending::Unanswered => shard.stop(),
            Ending::Peer if reason.code == CloseCode::NORMAL => shard.stop(),
            _ => self.retry(shard, reason),
        }
    }

    fn failed(&mut self, shard: &mut Shard<'_, Self>, _: bool, error: &ConnectError) {
        match error {
            ConnectError::Stopping => {}
            // The request is invalid.
            ConnectError::Handshake(HandshakeError::Status { status: 400..=499, .. }) => {
                self.give_up(shard, error.to_string());
            }
            _ => self.retry(shard, error),
        }
    }
}

/// Reads standard input, on a thread of its own. It waits while too many lines are in the queue.
fn read_lines(lines: SyncSender<String>, shard: &ShardHandle<LineClient>) {
    for line in io::stdin().lines() {
        match line {
            Ok(line) => match lines.send(line) {
                Ok(()) => announce(shard),
                Err(_) => return, // The shard has ended.
            },
            Err(error) => {
                eprintln!("client: cannot read standard input: {error}");
                break;
            }
        }
    }
    // The end of the input.
    drop(lines);
    announce(shard);
}

/// Makes the shard send the queued lines. If its mailbox is full, enough of these calls are waiting
/// in it.
fn announce(shard: &ShardHandle<LineClient>) {
    let _ = shard.post(|session, shard| shard.for_each_connection(|conn| session.send_lines(conn)));
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(url), origin, None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(
            "give the URL of a server, such as ws://127.0.0.1:9001/, and the origin to send if it asks for one".into(),
        );
    };
    // The name is looked up once, before the shard runs: it may take seconds.
    let mut endpoint = Endpoint::resolve(&url)?;
    if let Some(origin) = origin {
        endpoint = endpoint.origin(origin)?;
    }
    let (lines, queue) = mpsc::sync_channel(QUEUE);
    let (fatal, error) = mpsc::channel();
    let (endpoint, queue) = (Arc::new(endpoint), Arc::new(Mutex::new(queue)));
    let make = move |_shard| LineClient {
        endpoint: Arc::clone(&endpoint),
        lines: Arc::clone(&queue),
        unsent: None,
        delay: MIN_DELAY,
        fatal: fatal.clone(),
    };
    let running = Client::new()
        .shards(Shards::Count(1))
        .config(Config::default().idle_timeout(Some(Duration::from_secs(30)))?)
        .start(make)?;
    let shard = running.handles()[0].clone();
    thread::Builder::new().name("stdin".into()).spawn(move || read_lines(lines, &shard))?;
    running.stop_on_signals()?;
    running.wait()?;
    error.try_recv().map_or(Ok(()), |error| Err(error.into()))
}
