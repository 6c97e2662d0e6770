//! Echo on tokio-websockets.

use futures_util::{SinkExt, StreamExt};
use ringway_peers::{MAX_MESSAGE, WriteBehind, accept, run};
use std::error::Error;
use std::process::ExitCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_websockets::{Config, Limits, ServerBuilder};

fn main() -> ExitCode {
    run(|listener| accept(listener, serve))
}

async fn serve(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let (_request, mut socket) = ServerBuilder::new()
        .config(Config::default().frame_size(MAX_MESSAGE))
        .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE)))
        .accept(WriteBehind::new(stream))
        .await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(socket.into_inner().shutdown().await?)
}
