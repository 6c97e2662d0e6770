//! Echo on ringway-aio, the asynchronous streams of this repository.

use ringway_aio::{Config, Limits, Listener};
use ringway_peers::MAX_MESSAGE;
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    ringway_peers::run_with_port(|port| tokio_uring::start(serve(port)))
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
