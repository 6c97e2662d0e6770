//! An echo server on all cores: each message is sent back.
//!
//! ```sh
//! cargo run -p ringway-aio --example aio-echo -- 127.0.0.1:9001
//! ```
//!
//! It prints one line when it listens, and stops at SIGINT or SIGTERM. `--shards N` sets the number of
//! runtimes, `--deflate` accepts compression, `--tls CERT KEY` uses TLS.

use ringway_aio::{Config, Deflate, Limits, Server, Shards, TlsConfig, WebSocket};
use std::error::Error;
use std::io::Read;

async fn echo(mut ws: WebSocket) {
    while let Some(Ok(message)) = ws.next().await {
        if ws.send(message).await.is_err() {
            break;
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut address, mut shards, mut deflate) = ("127.0.0.1:9001".to_owned(), Shards::PerCore, None);
    let (mut stops_with_input, mut tls) = (false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--tls" => {
                let (certificate, key) = (arguments.next(), arguments.next());
                let (Some(certificate), Some(key)) = (certificate, key) else {
                    return Err("--tls: give a certificate and its key".into());
                };
                tls = Some(TlsConfig::from_files(certificate, key)?);
            }
            "--deflate" => deflate = Some(Deflate::takeover()),
            "--shards" => shards = Shards::Count(arguments.next().ok_or("--shards: give a number")?.parse()?),
            // For tests: also stops at the end of the standard input.
            "--until-eof" => stops_with_input = true,
            _ => address = argument,
        }
    }
    // As large as the messages of the conformance suite.
    let limits = Limits::default().max_message(64 << 20)?;
    let mut server = Server::bind(address)?.shards(shards).config(Config::default().deflate(deflate)).limits(limits);
    if let Some(tls) = &tls {
        server = server.tls(tls);
    }
    let running = server.start(echo)?;
    println!("listening on {}", running.addresses()[0]);
    if stops_with_input {
        std::io::stdin().read_to_end(&mut Vec::new())?;
        running.stop();
    } else {
        running.stop_on_signals()?;
    }
    running.wait()?;
    Ok(())
}
