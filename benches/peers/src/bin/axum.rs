//! Echo on axum, which uses tokio-tungstenite on hyper's upgraded stream.

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::routing::any;
use ringway_peers::{MAX_MESSAGE, TUNGSTENITE_READ_BUFFER as READ_BUFFER, echo, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    run(|listener| async { axum::serve(listener, Router::new().route("/", any(upgrade))).await })
}

async fn upgrade(upgrade: WebSocketUpgrade) -> axum::response::Response {
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    upgrade.on_upgrade(|socket| {
        tokio::task::unconstrained(async {
            let _ = echo(socket, |message| matches!(message, Message::Text(_) | Message::Binary(_))).await;
        })
    })
}
