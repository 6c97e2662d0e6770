//! A server behind a proxy, which sees the addresses of the clients.
//!
//! ```sh
//! cargo run --release -p ringway --example proxied -- 127.0.0.1:9001 127.0.0.0/8
//! ```
//!
//! The first argument is the address to listen on, the second one the network of the proxies, and
//! `proxy-protocol` as a third one requires a header of the PROXY protocol from them.
//! [deploy/proxy](../deploy/proxy) has configurations of nginx, which sends `X-Forwarded-For`, and of
//! HAProxy, which sends either. Each client is greeted with the address that the server sees.
//!
//! Any client can send these headers, so they count only from the network of the proxies. Of several
//! addresses in `X-Forwarded-For`, the last one that is not a proxy counts: what is before it was
//! sent by the client.

use ringway::{Admission, Config, Connection, Handler, Message, Request, Server, StatusCode, Upgrade};
use std::env;
use std::error::Error;
use std::net::IpAddr;
use std::process::ExitCode;

struct Welcome;

impl Handler for Welcome {
    /// The client's address, which is known during the opening handshake only.
    type State = IpAddr;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<IpAddr> {
        match request.client_addr() {
            Some(address) => Upgrade::accept(address),
            // A Unix socket, or a connection that is gone.
            None => Upgrade::reject(StatusCode::FORBIDDEN, "the address of the client is unknown"),
        }
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let text = format!("you come from {}", conn.state());
        // Nothing waits on a new connection, so the message is taken.
        let _ = conn.send(Message::text(&text));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxied: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, proxies, is_required) = match &arguments[..] {
        [address, proxies] => (address, proxies, false),
        [address, proxies, word] if word == "proxy-protocol" => (address, proxies, true),
        _ => {
            return Err("give the address to listen on, the network of the proxies, such as 127.0.0.0/8, and \
                        proxy-protocol if they send its header"
                .into());
        }
    };
    let admission = Admission::new().trust([proxies.parse()?])?.proxy_protocol(is_required);
    let running = Server::bind(address)?.config(Config::default().admission(admission)).start(|_shard| Welcome)?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    running.wait()?;
    Ok(())
}
