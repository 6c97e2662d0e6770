//! One connection of an impaired server: its handshake, its messages, and its output.

use super::impairments::{EndingKind, ImpairedCounts};
use ringway_codec::handshake::HeadLimits;
use ringway_codec::{Decoder, Event, Key, OpCode, Refusal, Role, SpillPool, encode_server, parse_request};
use rustix::net::sockopt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// The unsent bytes beyond which a connection is not read.
const MAX_OUTPUT: usize = 4 << 20;

/// What a connection expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionPhase {
    /// The rest of the opening handshake.
    Opening,
    /// Messages, and their replies.
    Open,
    /// The end of the client's direction: no reply is sent.
    Closing,
}

/// What happens when all output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterOutput {
    Nothing,
    /// FIN, and the client's direction stays open.
    Finish,
    /// The connection is dropped.
    Drop,
    /// RST.
    Reset,
}

/// A reply that waits for the one that it is swapped with.
#[derive(Debug)]
pub(super) struct HeldReply {
    pub(super) received: Instant,
    /// When it is sent without that one.
    pub(super) until: Instant,
    pub(super) opcode: OpCode,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct ImpairedConnection {
    stream: TcpStream,
    phase: ConnectionPhase,
    /// The bytes of the opening handshake.
    head: Vec<u8>,
    decoder: Decoder,
    /// Encoded frames, of which the first `written` bytes are written.
    pub(super) output: Vec<u8>,
    written: usize,
    after_output: AfterOutput,
    /// Whether the connection has ended.
    is_gone: bool,
    /// The number of the connection, from 1, in the order of accepting.
    pub(super) number: u64,
    /// The number of received messages.
    pub(super) received: u64,
    /// The number of answered messages.
    pub(super) answered: u64,
    pub(super) held: Option<HeldReply>,
}

impl ImpairedConnection {
    pub(super) fn new(stream: TcpStream, number: u64) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            phase: ConnectionPhase::Opening,
            head: Vec::new(),
            decoder: Decoder::new(Role::Server),
            output: Vec::new(),
            written: 0,
            after_output: AfterOutput::Nothing,
            is_gone: false,
            number,
            received: 0,
            answered: 0,
            held: None,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == ConnectionPhase::Open && !self.is_gone
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether there is output that the socket has not taken.
    pub(super) fn has_output(&self) -> bool {
        self.written < self.output.len()
    }

    /// Whether the connection is read: not while its client does not read the replies.
    pub(super) fn wants_input(&self) -> bool {
        self.output.len() - self.written < MAX_OUTPUT
    }

    /// Reads once. Calls `message` for each message with the time of its receipt.
    pub(super) fn receive(
        &mut self,
        pool: &mut SpillPool,
        buffer: &mut [u8],
        ignore_pings: bool,
        counts: &mut ImpairedCounts,
        mut message: impl FnMut(Instant, OpCode, Vec<u8>),
    ) {
        let read = self.stream.read(buffer);
        let received = Instant::now();
        let len = match read {
            Ok(len @ 1..) => len,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Ok(_) | Err(_) => return self.is_gone = true,
        };
        if self.phase != ConnectionPhase::Opening {
            return self.decode(pool, &mut buffer[..len], ignore_pings, counts, |o, p| message(received, o, p));
        }
        self.head.extend_from_slice(&buffer[..len]);
        match opening(&self.head) {
            Ok(None) => {}
            Ok(Some((key, len))) => {
                counts.connections += 1;
                self.phase = ConnectionPhase::Open;
                self.output.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n");
                self.output.extend_from_slice(b"Connection: Upgrade\r\nSec-WebSocket-Accept: ");
                self.output.extend_from_slice(&key.accept());
                self.output.extend_from_slice(b"\r\n\r\n");
                let mut rest = std::mem::take(&mut self.head).split_off(len);
                self.decode(pool, &mut rest, ignore_pings, counts, |o, p| message(received, o, p));
            }
            Err(refusal) => {
                counts.refused += 1;
                refusal.encode(None, &mut self.output);
                (self.phase, self.after_output) = (ConnectionPhase::Closing, AfterOutput::Drop);
            }
        }
    }

    fn decode(
        &mut self,
        pool: &mut SpillPool,
        input: &mut [u8],
        ignore_pings: bool,
        counts: &mut ImpairedCounts,
        mut message: impl FnMut(OpCode, Vec<u8>),
    ) {
        let mut at = 0;
        loop {
            match self.decoder.next(pool, input, &mut at) {
                Ok(None) => return,
                Ok(Some(Event::Message(incoming))) => {
                    counts.messages += 1;
                    message(incoming.kind().into(), incoming.payload().to_vec());
                }
                Ok(Some(Event::Ping(payload))) => {
                    counts.pings_received += 1;
                    if !ignore_pings && self.phase == ConnectionPhase::Open {
                        counts.pongs_sent += 1;
                        encode_server(OpCode::Pong, payload, &mut self.output);
                    }
                }
                Ok(Some(Event::Pong(_))) => counts.pongs_received += 1,
                Ok(Some(Event::Close(close))) => {
                    if self.phase == ConnectionPhase::Open {
                        counts.closed_by_client += 1;
                        let code = close.map(|(code, _)| u16::from(code).to_be_bytes());
                        encode_server(OpCode::Close, code.as_ref().map_or(&[], |code| code), &mut self.output);
                    }
                    (self.phase, self.after_output) = (ConnectionPhase::Closing, AfterOutput::Drop);
                    return;
                }
                Err(_) => {
                    counts.violations += 1;
                    self.is_gone = true;
                    return;
                }
            }
        }
    }

    /// Ends the connection when all output is written.
    pub(super) fn end(&mut self, how: EndingKind) {
        self.phase = ConnectionPhase::Closing;
        match how {
            EndingKind::Close(code) => encode_server(OpCode::Close, &code.to_be_bytes(), &mut self.output),
            EndingKind::Finish => self.after_output = AfterOutput::Finish,
            EndingKind::Reset => self.after_output = AfterOutput::Reset,
        }
    }

    /// Writes as much output as the socket takes.
    pub(super) fn flush(&mut self) {
        while self.has_output() && !self.is_gone {
            match self.stream.write(&self.output[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.is_gone = true,
            }
        }
        self.output.clear();
        self.written = 0;
        match std::mem::replace(&mut self.after_output, AfterOutput::Nothing) {
            AfterOutput::Nothing => {}
            // An error means that the client has ended the connection, which reading reports.
            AfterOutput::Finish => drop(self.stream.shutdown(Shutdown::Write)),
            AfterOutput::Drop => self.is_gone = true,
            AfterOutput::Reset => {
                // Closing sends RST instead of FIN.
                sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("an option of every socket");
                self.is_gone = true;
            }
        }
    }
}

/// The key and the length of a complete opening handshake.
fn opening(head: &[u8]) -> Result<Option<(Key, usize)>, Refusal> {
    parse_request(head, &HeadLimits::default())?.map(|(request, len)| Ok((request.websocket()?, len))).transpose()
}
