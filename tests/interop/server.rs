//! `interop-server [--deflate] [--driver auto|uring|epoll|tokio-uring]`: a server that does what its client asks
//! for, for the cases of `tests/interop` that `ringway serve` has no option for.
//!
//! It prints its address, and then the end of each connection as one line of JSON. It speaks the
//! subprotocol `chat`. It sends each message back, except for these texts:
//!
//! - `/ping PAYLOAD`: sends a ping, and answers its pong with the text `pong PAYLOAD`.
//! - `/close CODE REASON`: closes the connection.

use ringway::{
    CloseCode, CloseReason, Config, Connection, Deflate, DriverChoice, Handler, Message, Request, Server, Shard,
    Shards, Upgrade,
};
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

struct Obedient;

impl Handler for Obedient {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let command = message.as_text().and_then(Command::parse);
        match command {
            Some(Command::Ping(payload)) => conn.ping(payload.as_bytes()).expect("the test's payload is short"),
            Some(Command::Close(code, reason)) => conn.close(code, reason).expect("the test's code can be sent"),
            None => conn.reply(message),
        }
    }

    fn pong(&mut self, conn: &mut Connection<'_, Self>, payload: &[u8]) {
        let text = format!("pong {}", String::from_utf8_lossy(payload));
        // The outbox of a connection that waits for its pong has room.
        let _ = conn.send(Message::text(&text));
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
        let line = serde_json::json!({
            "code": reason.code.as_u16(),
            "reason": reason.text,
            "clean": reason.is_clean(),
        });
        // Fails only if the test has ended.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// A text that is not echoed.
enum Command<'a> {
    Ping(&'a str),
    Close(CloseCode, &'a str),
}

impl<'a> Command<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if let Some(payload) = text.strip_prefix("/ping ") {
            return Some(Self::Ping(payload));
        }
        let (code, reason) = text.strip_prefix("/close ")?.split_once(' ')?;
        Some(Self::Close(CloseCode::from(code.parse::<u16>().ok()?), reason))
    }
}

fn config(arguments: &[&str]) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::default().subprotocols(["chat"])?;
    let mut flags = arguments;
    loop {
        (config, flags) = match flags {
            [] => return Ok(config),
            ["--deflate", rest @ ..] => (config.deflate(Some(Deflate::takeover())), rest),
            ["--driver", "auto", rest @ ..] => (config.driver(DriverChoice::Auto), rest),
            ["--driver", "uring", rest @ ..] => (config.driver(DriverChoice::Uring), rest),
            ["--driver", "epoll", rest @ ..] => (config.driver(DriverChoice::Epoll), rest),
            ["--driver", "tokio-uring", rest @ ..] => (config.driver(DriverChoice::TokioUring), rest),
            _ => return Err("usage: interop-server [--deflate] [--driver auto|uring|epoll|tokio-uring]".into()),
        };
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).config(config(&arguments)?);
    let running = server.start(|_| Obedient)?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}");
    }
    running.wait()?;
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("interop-server: {error}");
            ExitCode::FAILURE
        }
    }
}
