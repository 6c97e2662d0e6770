//! Two ends of one connection, and plain peers.

use ringway_aio::{Acceptor, Listener, WebSocket};
use std::future::Future;

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
