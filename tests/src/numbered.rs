//! A client that numbers its messages, and sends those without an answer again after a close with
//! 1012, for servers that are replaced while they run.

use crate::tls::client_config;
use crate::{Frame, RawRequest, Received, WATCHDOG};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The number of messages of a client that wait for their answers.
const IN_FLIGHT: usize = 8;

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Where a client connects to.
#[derive(Clone, Debug)]
pub enum Place {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// TLS over TCP.
    Tls(SocketAddr, Arc<ClientConfig>),
}

impl Place {
    /// A server with TLS, whose certificate this root has issued for `localhost`.
    #[must_use]
    pub fn tls(address: SocketAddr, root: &str) -> Self {
        Self::Tls(address, Arc::new(client_config(root)))
    }

    /// Connects. A connection that is refused is a panic.
    fn connect(&self) -> Box<dyn Stream> {
        let tcp = |address: &SocketAddr| {
            let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
            stream.set_nodelay(true).expect("a socket option");
            stream.set_read_timeout(Some(WATCHDOG)).expect("a socket option");
            stream
        };
        match self {
            Self::Tcp(address) => Box::new(tcp(address)),
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                stream.set_read_timeout(Some(WATCHDOG)).expect("a socket option");
                Box::new(stream)
            }
            Self::Tls(address, config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let connection = ClientConnection::new(Arc::clone(config), name).expect("a configuration");
                Box::new(StreamOwned::new(connection, tcp(address)))
            }
        }
    }
}

/// What a client saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberedTally {
    /// Messages, each of which was answered once.
    pub messages: u64,
    /// Messages that were sent again.
    pub repeated: u64,
    /// Connections that were closed with 1012.
    pub handed_over: u64,
}

/// A running client. It panics if a connection is refused or reset, an answer is missing or comes
/// twice, or a connection is closed with another code than 1012.
#[derive(Debug)]
pub struct NumberedClient {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<NumberedTally>,
}

impl NumberedClient {
    /// Starts a client. Its messages are `NAME:0`, `NAME:1` and so on, one each `interval`.
    #[must_use]
    pub fn start(place: Place, name: impl Into<String>, interval: Duration) -> Self {
        let (stop, name) = (Arc::new(AtomicBool::new(false)), name.into());
        let is_over = Arc::clone(&stop);
        let thread = thread::spawn(move || Exchange::new(place, name).run(interval, &is_over));
        Self { stop, thread }
    }

    /// Sends no further messages, waits for the answers, and returns what it saw.
    #[must_use]
    pub fn stop(self) -> NumberedTally {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("nothing is refused, reset, lost or doubled")
    }
}

struct Exchange {
    place: Place,
    name: String,
    stream: Box<dyn Stream>,
    /// The numbers without an answer, in order.
    waiting: VecDeque<u64>,
    tally: NumberedTally,
}

impl Exchange {
    fn new(place: Place, name: String) -> Self {
        let stream = open(&place);
        Self { place, name, stream, waiting: VecDeque::new(), tally: NumberedTally::default() }
    }

    fn run(mut self, interval: Duration, stop: &AtomicBool) -> NumberedTally {
        while !stop.load(Ordering::Acquire) {
            thread::sleep(interval); // the rate of the messages
            self.send_next();
            while self.waiting.len() >= IN_FLIGHT {
                self.receive();
            }
        }
        while !self.waiting.is_empty() {
            self.receive();
        }
        self.write(&Frame::close(1000, ""));
        let close = read_frame(&mut self.stream).expect("a close frame");
        assert!(matches!(close.close_code(), Some(1000 | 1012)), "{close:?}");
        self.tally
    }

    fn send_next(&mut self) {
        let number = self.tally.messages;
        self.tally.messages += 1;
        self.waiting.push_back(number);
        self.write(&Frame::text(format!("{}:{number}", self.name)));
    }

    /// Writes a frame. After its close frame the server reads until it gets the client's.
    fn write(&mut self, frame: &Frame) {
        self.stream.write_all(&frame.bytes()).expect("the connection is open");
    }

    /// Reads an answer, or the close frame of a server that is replaced.
    fn receive(&mut self) {
        let frame = read_frame(&mut self.stream).expect("an answer, or a close frame");
        if frame.is_close() {
            assert_eq!(frame.close_code(), Some(1012));
            self.reconnect();
            return;
        }
        let number = self.waiting.pop_front().expect("each answer comes once");
        assert_eq!(frame, Received::text(&format!("{}:{number}", self.name)), "the answers come in order");
    }

    /// Ends the connection, and sends the messages without an answer again on another one.
    fn reconnect(&mut self) {
        self.tally.handed_over += 1;
        self.write(&Frame::close(1012, ""));
        let end = read_frame(&mut self.stream);
        assert!(end.is_none(), "{end:?} after the close frame");
        self.stream = open(&self.place);
        for number in self.waiting.clone() {
            self.tally.repeated += 1;
            self.write(&Frame::text(format!("{}:{number}", self.name)));
        }
    }
}

/// Connects, and opens a WebSocket.
fn open(place: &Place) -> Box<dyn Stream> {
    let mut stream = place.connect();
    stream.write_all(&RawRequest::websocket().bytes()).expect("the connection is open");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {}", head.escape_ascii()));
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
    stream
}

/// The next frame, of at most 125 bytes; `None` at the end of the connection.
fn read_frame(stream: &mut Box<dyn Stream>) -> Option<Received> {
    let mut head = [0; 2];
    match stream.read(&mut head[..1]) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => panic!("reading: {error}"),
    }
    stream.read_exact(&mut head[1..]).expect("the rest of a frame");
    assert!(head[1] < 126, "a short frame without a mask");
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).expect("the rest of a frame");
    Some(Received { first: head[0], payload })
}
