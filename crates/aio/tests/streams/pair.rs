//! Two ends of one connection, and plain peers.

use ringway_aio::{Acceptor, Listener, WebSocket};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use tokio::task::JoinHandle;

/// A valid request for a WebSocket.
pub(crate) const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Runs a test in a runtime.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio_uring::start(test)
}

/// Both ends of a connection: the client's, and the server's.
pub(crate) async fn pair() -> (WebSocket, WebSocket) {
    pair_with(Acceptor::new()).await
}

/// The same, with options of the server role.
pub(crate) async fn pair_with(acceptor: Acceptor) -> (WebSocket, WebSocket) {
    let mut listener = Listener::bind("127.0.0.1:0").expect("a port").with(acceptor);
    let url = format!("ws://{}/", listener.local_addr());
    let client = tokio_uring::spawn(async move { ringway_aio::connect(&url).await });
    let server = listener.accept().await.expect("it opens");
    (client.await.expect("no panic").expect("it opens"), server)
}

/// A server that echoes in tasks of this runtime. Returns its URL.
pub(crate) fn echo_server() -> String {
    let mut listener = Listener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr());
    tokio_uring::spawn(async move {
        while let Ok(mut ws) = listener.accept().await {
            tokio_uring::spawn(async move {
                while let Some(Ok(message)) = ws.next().await {
                    if ws.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// A frame of a client, masked with zeros. `first`: its first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).ok().filter(|len| *len < 126).expect("a short payload");
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

/// A plain client that sends `frames` after its request, and ends its direction. Returns what it has
/// received.
pub(crate) fn plain_client(url: &str, frames: Vec<u8>) -> JoinHandle<Vec<u8>> {
    let address = url.trim_start_matches("ws://").trim_end_matches('/').to_owned();
    tokio::task::spawn_blocking(move || {
        let mut peer = TcpStream::connect(address).expect("it listens");
        peer.write_all(REQUEST).expect("it is open");
        peer.write_all(&frames).expect("it is open");
        peer.shutdown(Shutdown::Write).expect("it is open");
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("an end");
        got
    })
}

/// The index of the first occurrence of `part`.
#[track_caller]
pub(crate) fn position(got: &[u8], part: &[u8]) -> usize {
    let at = got.windows(part.len()).position(|bytes| bytes == part);
    at.unwrap_or_else(|| panic!("{part:?} is not in {got:?}"))
}
