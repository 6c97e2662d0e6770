//! Code shared by the servers: the command line, the listening socket, a runtime on one
//! thread, and coalesced writes.

mod write_behind;

pub use write_behind::WriteBehind;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::error::Error;
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_websockets::{Config, Limits, ServerBuilder, WebSocketStream};

#[cfg(not(feature = "system-allocator"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Every server here accepts messages up to this size.
pub const MAX_MESSAGE: usize = 16 << 20;

/// tungstenite zeroes its read buffer before each read. The default of 128 KiB costs 4 µs more per
/// message of 20 B than 8 KiB does; with messages of 16 KiB, 8 KiB costs 3 µs more than 32 KiB
/// because it takes several reads. Of 2 to 128 KiB, 32 KiB loses least over both.
pub const TUNGSTENITE_READ_BUFFER: usize = 32 << 10;

/// The kernel reduces it to `net.core.somaxconn`.
const BACKLOG: u32 = 65_535;

/// Runs a server on the port given on the command line, on the calling thread, until it fails.
pub fn run<F>(server: impl FnOnce(TcpListener) -> F) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    run_with_port(|port| start(port, server))
}

/// Runs a server that listens by itself on the port given on the command line, until it fails.
pub fn run_with_port<E: Display>(server: impl FnOnce(u16) -> Result<(), E>) -> ExitCode {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    match (arguments.next().map(|port| port.parse::<u16>()), arguments.next()) {
        (Some(Ok(port)), None) => exit_code(&program, port, server(port)),
        _ => {
            eprintln!("usage: {program} PORT");
            ExitCode::from(2)
        }
    }
}

/// Runs a server on this port, on the calling thread, until it fails.
pub fn run_on<F>(program: &str, port: u16, server: impl FnOnce(TcpListener) -> F) -> ExitCode
where
    F: Future<Output = io::Result<()>>,
{
    exit_code(program, port, start(port, server))
}

fn exit_code(program: &str, port: u16, ended: Result<(), impl Display>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: 127.0.0.1:{port}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start<F>(port: u16, server: impl FnOnce(TcpListener) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    raise_open_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async { server(listen(port)?).await })
}

/// Raises the soft limit of open files to the hard one.
///
/// # Errors
/// That of setrlimit(2).
pub fn raise_open_files() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Accepted sockets inherit TCP_NODELAY from the listening one.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(BACKLOG)
}

/// Serves each connection in its own task without tokio's cooperative budget, like the benchmarks
/// of fastwebsockets and tokio-websockets. An error ends its connection and nothing else.
pub async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = Result<(), Box<dyn Error>>> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = serve(stream);
                tokio::spawn(tokio::task::unconstrained(async move {
                    let _ = connection.await;
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Echoes messages until the stream ends. Flushes when no further message is available, so that
/// replies to messages that arrived together are sent together.
pub async fn echo<S, M, E>(mut socket: S, is_data: impl Fn(&M) -> bool) -> Result<(), E>
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Unpin,
{
    loop {
        let next = poll_fn(|context| match socket.poll_next_unpin(context) {
            Poll::Pending => match socket.poll_flush_unpin(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            },
            ready => ready,
        });
        match next.await {
            Some(Ok(message)) if is_data(&message) => socket.feed(message).await?,
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}

/// Accepts a connection with tokio-websockets, which does not split messages into frames.
pub async fn accept_tokio_websockets<S>(stream: S) -> Result<WebSocketStream<S>, Box<dyn Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (_request, socket) = ServerBuilder::new()
        .config(Config::default().frame_size(MAX_MESSAGE))
        .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE)))
        .accept(stream)
        .await?;
    Ok(socket)
}

/// Echoes messages with tokio-websockets on a stream until it ends.
pub async fn echo_tokio_websockets<S>(stream: S) -> Result<(), Box<dyn Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut socket = accept_tokio_websockets(WriteBehind::new(stream)).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(socket.into_inner().shutdown().await?)
}
