//! A client that connects again when its connection is lost: after 100 ms, and then twice as long each
//! time, up to 10 s. It sends a numbered line each second, and prints what it receives.
//!
//! ```sh
//! cargo run -p ringway-aio --example aio-client -- ws://127.0.0.1:9001/ [LINES]
//! ```

use ringway_aio::{CloseCode, Error, WebSocket};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(1);

/// Sends the lines that are left, one each second. Returns when the connection ends, or all are
/// answered.
async fn exchange(ws: &mut WebSocket, next: &mut u32, lines: u32) -> Result<(), Error> {
    while *next < lines {
        let line = *next;
        ws.send(format!("line {line}")).await?;
        let due = Instant::now() + INTERVAL;
        // `next` can be dropped by the timeout at any time: it loses no message.
        while let Ok(received) = timeout_at(due, ws.next()).await {
            let Some(message) = received.transpose()? else { return Err(Error::Closed) };
            println!("received {}", message.as_text().unwrap_or("(binary)"));
            *next = line + 1;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:9001/".to_owned());
    let lines = arguments.next().and_then(|lines| lines.parse().ok()).unwrap_or(u32::MAX);
    tokio_uring::start(async {
        let (mut next, mut delay) = (0, FIRST_DELAY);
        loop {
            let error = match ringway_aio::connect(&url).await {
                Ok(mut ws) => {
                    println!("connected");
                    delay = FIRST_DELAY;
                    match exchange(&mut ws, &mut next, lines).await {
                        Ok(()) => {
                            let _ = ws.close(CloseCode::NORMAL, "").await;
                            return ExitCode::SUCCESS;
                        }
                        Err(error) => error,
                    }
                }
                // The URL will not become a valid one.
                Err(error @ Error::Connect(_)) if !url.starts_with("ws") => {
                    eprintln!("{error}");
                    return ExitCode::FAILURE;
                }
                Err(error) => error,
            };
            println!("{error}; connecting again in {delay:?}");
            sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    })
}
