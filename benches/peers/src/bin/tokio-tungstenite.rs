//! Echo on tokio-tungstenite.

use ringway_peers::{MAX_MESSAGE, TUNGSTENITE_READ_BUFFER as READ_BUFFER, accept, echo, run};
use std::error::Error;
use std::process::ExitCode;
use tokio::net::TcpStream;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

fn main() -> ExitCode {
    run(|listener| accept(listener, serve))
}

async fn serve(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let socket = accept_async_with_config(stream, Some(config)).await?;
    echo(socket, |message: &Message| message.is_text() || message.is_binary()).await?;
    Ok(())
}
