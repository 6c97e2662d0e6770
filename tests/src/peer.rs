//! A TCP client that sends any bytes and reads frames and heads without the codec.

use crate::WATCHDOG;
use crate::http::{ACCEPT, RawRequest, RawResponse};
use crate::{Frame, Received};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The time without progress after which a server may have stopped reading. A test that depends on
/// it queries the server.
const STALL: Duration = Duration::from_secs(1);

/// Repeats a call that a signal has interrupted, which happens to calls with timeouts (signal(7)).
fn uninterrupted<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// How the server ended its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With FIN.
    Finished,
    /// With RST.
    Reset,
}

/// One end of a TCP connection. Reading waits for bytes, and panics after [`WATCHDOG`].
#[derive(Debug)]
pub struct WirePeer {
    stream: TcpStream,
    received: Vec<u8>,
    /// How many bytes of `received` have been consumed.
    at: usize,
}

impl WirePeer {
    /// Connects.
    #[must_use]
    pub fn connect(server: SocketAddr) -> Self {
        Self::connect_with(server, Ipv4Addr::LOCALHOST, |_| Ok(()))
    }

    /// Connects from this address of the loopback network: each address has all ports.
    #[must_use]
    pub fn connect_from(server: SocketAddr, source: Ipv4Addr) -> Self {
        Self::connect_with(server, source, |_| Ok(()))
    }

    /// Connects with a small receive buffer, so that backpressure reaches the server soon.
    #[must_use]
    pub fn connect_narrow(server: SocketAddr) -> Self {
        Self::connect_with(server, Ipv4Addr::LOCALHOST, |socket| socket.set_recv_buffer_size(16 * 1024))
    }

    /// Connects as [`WirePeer::connect_narrow`], with a smaller buffer and the segments of an
    /// Ethernet: the kernel takes about 100 KiB of output that is not read, and not megabytes as
    /// with the segments of the loopback interface.
    #[must_use]
    pub fn connect_tiny(server: SocketAddr, source: Ipv4Addr) -> Self {
        Self::connect_with(server, source, |socket| {
            socket.set_tcp_mss(1460)?;
            socket.set_recv_buffer_size(4096)
        })
    }

    /// Lets the kernel keep no more than this of what is written.
    pub fn narrow_writing(&self, bytes: usize) {
        socket2::SockRef::from(&self.stream).set_send_buffer_size(bytes).expect("a socket option");
    }

    /// Lets the kernel receive as much at once as for other connections, from now on.
    pub fn widen(&self) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(256 << 10).expect("a socket option");
    }

    /// Connects to a Unix socket.
    #[must_use]
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        stream.set_read_timeout(Some(WATCHDOG)).expect("a socket option");
        stream.set_write_timeout(Some(WATCHDOG)).expect("a socket option");
        // Reading, writing and shutting down are the same system calls for all stream sockets.
        Self { stream: TcpStream::from(OwnedFd::from(stream)), received: Vec::new(), at: 0 }
    }

    fn connect_with(server: SocketAddr, source: Ipv4Addr, prepare: impl Fn(&Socket) -> io::Result<()>) -> Self {
        let connect = || {
            let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
            prepare(&socket)?;
            if source != Ipv4Addr::LOCALHOST {
                socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
            }
            socket.connect_timeout(&server.into(), WATCHDOG)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_read_timeout(Some(WATCHDOG))?;
            socket.set_write_timeout(Some(WATCHDOG))?;
            io::Result::Ok(TcpStream::from(socket))
        };
        let stream = connect().unwrap_or_else(|error| panic!("cannot connect to {server}: {error}"));
        Self { stream, received: Vec::new(), at: 0 }
    }

    /// The other end of a connection that a test has accepted.
    #[must_use]
    pub fn accepted(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(WATCHDOG)).expect("a socket option");
        stream.set_write_timeout(Some(WATCHDOG)).expect("a socket option");
        Self { stream, received: Vec::new(), at: 0 }
    }

    /// The connection, of which nothing has been read.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Connects and opens a WebSocket.
    #[must_use]
    pub fn open(server: SocketAddr) -> Self {
        let mut peer = Self::connect(server);
        peer.upgrade();
        peer
    }

    /// Opens a WebSocket.
    pub fn upgrade(&mut self) {
        self.write(RawRequest::websocket().bytes());
        self.expect_upgrade();
    }

    /// Reads the answer that opens a WebSocket.
    pub fn expect_upgrade(&mut self) -> RawResponse {
        let response = self.response();
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.field("sec-websocket-accept"), Some(ACCEPT));
        response
    }

    /// Writes bytes.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).expect("the server accepts the bytes");
    }

    /// Writes bytes, possibly after the server has ended the connection.
    ///
    /// # Errors
    /// If the server has ended the connection.
    pub fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Writes bytes one at a time, each in a segment of its own.
    pub fn write_byte_by_byte(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.write([*byte]);
        }
    }

    /// Writes some of the bytes and returns their number; 0 if the server accepts none for a
    /// second.
    pub fn write_some(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_write_timeout(Some(STALL)).expect("a socket option");
        match uninterrupted(|| self.stream.write(bytes)) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("writing: {error}"),
        }
    }

    /// A second handle, to write from another thread while this one reads.
    #[must_use]
    pub fn writer(&self) -> Self {
        let stream = self.stream.try_clone().expect("there is a descriptor left");
        Self { stream, received: Vec::new(), at: 0 }
    }

    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a frame.
    pub fn send(&mut self, frame: &Frame) {
        self.write(frame.bytes());
    }

    /// Ends this direction (FIN).
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Aborts the connection (RST).
    pub fn reset(self) {
        self.reset_on_drop();
    }

    /// Makes dropping this end abort the connection (RST), which frees its port at once.
    pub fn reset_on_drop(&self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    }

    /// Waits for more bytes.
    fn fill(&mut self) -> Result<(), End> {
        if self.at == self.received.len() {
            self.received.clear();
            self.at = 0;
        }
        let start = self.received.len();
        self.received.resize(start + 64 * 1024, 0);
        let result = uninterrupted(|| self.stream.read(&mut self.received[start..]));
        self.received.truncate(start + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Err(End::Finished),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(End::Reset),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing has come for {WATCHDOG:?}"),
            Err(error) => panic!("reading: {error}"),
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.received.len() - self.at < count {
            self.fill()?;
        }
        self.at += count;
        Ok(self.received[self.at - count..self.at].to_vec())
    }

    /// Waits for this many bytes, and drops them.
    ///
    /// # Errors
    /// The end of the connection, if it comes before them.
    pub fn skip(&mut self, count: usize) -> Result<(), End> {
        self.take(count).map(drop)
    }

    /// Reads this many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.take(count).expect("the bytes come")
    }

    /// Reads all bytes up to FIN.
    pub fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(End::Finished) => return self.received.split_off(self.at),
                Err(End::Reset) => panic!("the connection was reset"),
            }
        }
    }

    /// Reads the head of a request or response, including its blank line.
    pub fn head(&mut self) -> String {
        let end = loop {
            let fresh = &self.received[self.at..];
            if let Some(end) = fresh.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if let Err(end) = self.fill() {
                panic!("{end:?} before the end of a head: {}", self.received[self.at..].escape_ascii());
            }
        };
        let head = self.take(end + 4).expect("it is there");
        String::from_utf8(head).expect("ASCII")
    }

    /// Reads a response with its body.
    pub fn response(&mut self) -> RawResponse {
        let mut response = RawResponse::parse(&self.head());
        let length = response.field("content-length").map_or(0, |length| length.parse().expect("a number"));
        let body = self.take(length).expect("the whole body");
        response.body = String::from_utf8(body).expect("text");
        response
    }

    /// The next frame of a server, or the end.
    ///
    /// # Errors
    /// The end of the connection, if it comes before the end of a frame.
    pub fn try_frame(&mut self) -> Result<Received, End> {
        let (frame, key) = self.any_frame()?;
        assert_eq!(key, None, "rfc6455 5.1: a server must not mask");
        Ok(frame)
    }

    /// The next frame of a client, and the key that masked it.
    pub fn masked_frame(&mut self) -> (Received, [u8; 4]) {
        let (frame, key) = self.any_frame().expect("a frame comes");
        (frame, key.expect("rfc6455 5.1: a client must mask"))
    }

    fn any_frame(&mut self) -> Result<(Received, Option<[u8; 4]>), End> {
        let head = self.take(2)?;
        let length = match head[1] & 0x7f {
            126 => usize::from(u16::from_be_bytes(self.take(2)?.try_into().expect("2 bytes"))),
            127 => u64::from_be_bytes(self.take(8)?.try_into().expect("8 bytes")) as usize,
            short => usize::from(short),
        };
        let key: Option<[u8; 4]> =
            if head[1] & 0x80 == 0 { None } else { Some(self.take(4)?.try_into().expect("4 bytes")) };
        let mut payload = self.take(length)?;
        if let Some(key) = key {
            payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        }
        Ok((Received { first: head[0], payload }, key))
    }

    /// The next frame.
    pub fn frame(&mut self) -> Received {
        self.try_frame().expect("a frame comes")
    }

    /// The code of the next frame, which must be a close frame.
    pub fn close_code(&mut self) -> Option<u16> {
        self.frame().close_code()
    }

    /// Waits for the end of the connection; no further bytes may arrive.
    pub fn end(&mut self) -> End {
        match self.take(1) {
            Err(end) => end,
            Ok(_) => panic!("expected the end, got {}", self.received[self.at - 1..].escape_ascii()),
        }
    }

    /// Sends a message and checks its echo.
    pub fn expect_echo(&mut self, text: &str) {
        self.send(&Frame::text(text));
        assert_eq!(self.frame(), Received::text(text));
    }
}
