//! Echo on ringway-aio, the asynchronous streams of this repository.

use ringway_aio::{Config, Limits, Listener};
use ringway_peers::MAX_MESSAGE;
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let port = match (arguments.next().map(|port| port.parse::<u16>()), arguments.next()) {
        (Some(Ok(port)), None) => port,
        _ => {
            eprintln!("usage: {program} PORT");
            return ExitCode::from(2);
        }
    };
    match tokio_uring::start(serve(port)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: 127.0.0.1:{port}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    ringway_peers::raise_open_files()?;
    ringway_aio::configure(Config::default(), Limits::default().max_message(MAX_MESSAGE)?)?;
    let mut listener = Listener::bind(("127.0.0.1", port))?;
    loop {
        let mut ws = listener.accept().await?;
        tokio_uring::spawn(async move {
            while let Some(Ok(message)) = ws.next().await {
                if ws.send(message).await.is_err() {
                    break;
                }
            }
        });
    }
}
