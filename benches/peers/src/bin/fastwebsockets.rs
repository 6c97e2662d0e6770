//! Echo on fastwebsockets. hyper performs the upgrade; afterwards the library uses the TCP stream
//! directly instead of through hyper's boxed `Upgraded`.

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, upgrade};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ringway_peers::{MAX_MESSAGE, WriteBehind, accept, run};
use std::error::Error;
use std::process::ExitCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn main() -> ExitCode {
    run(|listener| accept(listener, serve))
}

async fn serve(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let service = service_fn(|mut request| async move {
        let (response, upgraded) = upgrade::upgrade(&mut request)?;
        tokio::task::spawn(tokio::task::unconstrained(async move {
            let _ = echo(upgraded).await;
        }));
        Ok::<_, fastwebsockets::WebSocketError>(response)
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await?;
    Ok(())
}

async fn echo(upgraded: upgrade::UpgradeFut) -> Result<(), Box<dyn Error>> {
    let upgraded = upgraded.await?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| "hyper's connection is not over a TCP stream")?;
    if !parts.read_buf.is_empty() {
        return Err("the client sent frames before the handshake was answered".into());
    }
    let mut socket = WebSocket::after_handshake(WriteBehind::new(parts.io.into_inner()), Role::Server);
    // fastwebsockets rejects a message whose size equals the limit.
    socket.set_max_message_size(MAX_MESSAGE + 1);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => break,
            _ => {}
        }
    }
    Ok(socket.into_inner().shutdown().await?)
}
