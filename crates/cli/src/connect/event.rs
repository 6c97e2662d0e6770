//! What happens in a conversation, as the shard reports it to the thread that prints, and what that
//! thread and the reader of the input ask of the shard.

use ringway::CloseCode;
use ringway_loadtest::recording::RecordContent;
use std::time::{Duration, SystemTime};

/// A message without its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Text(String),
    Binary(Vec<u8>),
}

impl Body {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// An event of a conversation.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection is open.
    Opened(Box<Opened>),
    /// A message was received.
    Message { at: SystemTime, body: Body },
    /// Something was sent: it was given to the kernel. Reported for a recording only.
    Sent { at: SystemTime, content: RecordContent },
    /// A ping was received, and is answered.
    Ping { at: SystemTime, payload: Vec<u8> },
    /// A pong was received.
    Pong { at: SystemTime, payload: Vec<u8>, answers: Answers },
    /// An open connection has ended.
    Closed(Closed),
    /// A connection could not be opened.
    Failed(String),
    /// Another attempt follows after this time.
    Retrying { after: Duration, attempt: u64, of: u64 },
    /// Something that the person has to know.
    Note(String),
    /// Lines of the trace, with escapes.
    Trace(String),
    /// The program goes on after a stop: the line that is being typed is not on the screen.
    Resumed,
    /// Nothing follows.
    Done(Verdict),
}

/// What a pong answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// A ping that was asked for, sent this long ago.
    Ping(Duration),
    /// A ping of `--ping-interval`.
    KeepAlive(Duration),
    /// Nothing.
    Nothing,
}

/// What the opening handshake has agreed on.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) url: String,
    pub(super) address: String,
    /// From the call until the connection was open.
    pub(super) took: Duration,
    /// Version and cipher suite.
    pub(super) tls: Option<String>,
    /// The names and the expiry of the server's certificate.
    pub(super) certificate: Option<String>,
    pub(super) subprotocol: Option<String>,
    pub(super) extensions: Option<String>,
    /// The header fields of the response.
    pub(super) headers: Vec<(String, String)>,
}

/// How an open connection has ended.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) at: SystemTime,
    pub(super) code: CloseCode,
    pub(super) reason: String,
    /// Who closed, and why, as `closed by the server`.
    pub(super) how: String,
    /// Whether both sides have sent a close frame.
    pub(super) clean: bool,
    /// Whether the server began to close.
    pub(super) by_server: bool,
    /// Messages that may not have arrived.
    pub(super) unsent: usize,
}

/// How the conversation has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should.
    Good,
    /// It has failed, and the reason was reported as an event.
    Failed,
    /// It has failed for this reason.
    Error(String),
}

/// What the shard is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Send(Body),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseCode, String),
    /// The input has ended.
    Finish,
    /// The input is invalid.
    Fail(String),
}

impl Command {
    /// The memory that it occupies, about.
    pub(super) fn weight(&self) -> usize {
        let payload = match self {
            Self::Send(body) => body.bytes().len(),
            Self::Ping(payload) | Self::Pong(payload) => payload.len(),
            Self::Close(_, reason) => reason.len(),
            Self::Finish | Self::Fail(_) => 0,
        };
        payload + WEIGHT
    }
}

impl Event {
    /// The memory that it occupies, about.
    pub(super) fn weight(&self) -> usize {
        let payload = match self {
            Self::Message { body, .. } => body.bytes().len(),
            Self::Ping { payload, .. } | Self::Pong { payload, .. } => payload.len(),
            Self::Sent { content, .. } => match content {
                RecordContent::Text(text) => text.len(),
                RecordContent::Binary(bytes) => bytes.len(),
                _ => 0,
            },
            Self::Trace(text) | Self::Note(text) | Self::Failed(text) => text.len(),
            Self::Closed(closed) => closed.reason.len() + closed.how.len(),
            Self::Opened(opened) => opened.headers.iter().map(|(name, value)| name.len() + value.len()).sum(),
            Self::Retrying { .. } | Self::Resumed | Self::Done(_) => 0,
        };
        payload + WEIGHT
    }
}

/// The memory of an entry of a queue without its payload, about.
const WEIGHT: usize = 128;
