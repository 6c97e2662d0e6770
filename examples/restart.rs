//! A graceful restart: a new process takes over from the old one, and no client is refused.
//!
//! ```sh
//! cargo run --release -p ringway --example restart -- 127.0.0.1:9001 /tmp/restart.sock
//! ```
//!
//! Start it a second time, with the same arguments, while the first process runs:
//!
//! ```text
//! new process                          old process
//!   handover::take_over ─────────────►   (serves)
//!   <──────────── listening sockets
//!   starts its shards: both processes accept from the same queues
//!   Predecessor::release ────────────►   stops accepting, closes its connections
//!   offers its sockets to the next        with 1012 (service restart), ends
//! ```
//!
//! The clients connect again when they are closed with 1012, as the example `client` does, and come
//! to the new process. If the new process fails before it confirms, the old one goes on.

use ringway::{Config, Connection, Handler, Message, Request, Server, Upgrade, handover};
use std::env;
use std::error::Error;
use std::process::{self, ExitCode};
use std::time::Duration;

/// The maximum time in which the old process closes its connections.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that the old process closes in a second, so that their clients do not all connect
/// again at once.
const DRAIN_RATE: u32 = 1000;

/// Tells each client which process it is connected to, and answers its messages.
struct Greeting;

impl Handler for Greeting {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        // Nothing waits on a new connection, so the message is taken.
        let _ = conn.send(Message::text(&format!("process {}", process::id())));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("restart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(path), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("give the address to listen on, such as 127.0.0.1:9001, and the path of a socket file".into());
    };
    let mut predecessor = handover::take_over(&path)?;
    let server = match &mut predecessor {
        // The address may also be another one than that of the former process.
        Some(predecessor) => Server::taking_over(predecessor)?.and_bind(address)?,
        None => Server::bind(address)?,
    };
    let config = Config::default().stop_timeout(STOP_TIMEOUT)?.drain_rate(Some(DRAIN_RATE))?;
    let running = server.config(config).start(|_shard| Greeting)?;
    if let Some(predecessor) = predecessor {
        predecessor.release()?;
        println!("took over from the former process");
    }
    running.offer(&path)?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    running.wait()?;
    Ok(())
}
