//! A server that sends each message back.
//!
//! ```sh
//! cargo run --release -p ringway --example echo -- 127.0.0.1:9001
//! ```
//!
//! Port 0 lets the system choose a port. The first signal (Ctrl-C) stops the server in order, a
//! second one ends it at once.

use ringway::{Connection, Handler, Message, Request, Server, Upgrade};
use std::env;
use std::error::Error;
use std::process::ExitCode;

/// The application. One value of it runs on each shard; this one keeps nothing.
struct Echo;

impl Handler for Echo {
    /// What is kept for each connection: nothing.
    type State = ();

    /// A client asks for a WebSocket, and its request is valid. This server accepts all of them.
    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    /// The reply is written into the buffer that the message was received in: nothing is copied.
    /// A client that does not read is not read either, so replies need no check.
    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), None) = (arguments.next(), arguments.next()) else {
        return Err("give one argument, the address to listen on, such as 127.0.0.1:9001".into());
    };
    // One shard for each core, each with a handler that is made on the shard's own thread.
    let running = Server::bind(address)?.start(|_shard| Echo)?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    running.wait()?;
    Ok(())
}
