//! Fan-out on tokio's broadcast channel with tokio-websockets: each message goes to all connections,
//! its sender included.
//!
//! One task for each connection takes the messages of the channel and reads those of its peer, as the
//! chat examples of tokio and of tokio-websockets do. A message is shared and not copied by the
//! channel; messages that are in the channel together are flushed together.

use futures_util::{SinkExt, StreamExt};
use ringway_peers::{accept, accept_tokio_websockets, run};
use std::error::Error;
use std::process::ExitCode;
use tokio::net::TcpStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Sender, channel};
use tokio_websockets::Message;

/// The number of messages that the channel keeps. A task that is further behind misses messages.
const CAPACITY: usize = 4096;

fn main() -> ExitCode {
    run(|listener| {
        let (sender, _) = channel(CAPACITY);
        accept(listener, move |stream| serve(stream, sender.clone()))
    })
}

async fn serve(stream: TcpStream, sender: Sender<Message>) -> Result<(), Box<dyn Error>> {
    let mut messages = sender.subscribe();
    let mut socket = accept_tokio_websockets(stream).await?;
    loop {
        tokio::select! {
            published = messages.recv() => {
                let mut next = match published {
                    Ok(message) => Some(message),
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return Ok(()),
                };
                while let Some(message) = next {
                    socket.feed(message).await?;
                    next = messages.try_recv().ok();
                }
                socket.flush().await?;
            }
            received = socket.next() => match received.transpose()? {
                Some(message) if message.is_text() || message.is_binary() => {
                    // It fails only without a receiver, and this task is one.
                    let _ = sender.send(message);
                }
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
