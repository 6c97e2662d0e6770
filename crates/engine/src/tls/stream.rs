//! The TLS layer of one connection: opens received records, and seals output (RFC 8446 section 5).
//!
//! [`TlsStream`] is a state machine on bytes, on the unbuffered API of rustls. It has no record
//! layer of its own. Two calls are the whole seam: [`receive`](TlsStream::receive) opens received
//! records, in place if possible, and [`seal`](TlsStream::seal) appends the records of an output to a
//! buffer.
//!
//! rustls 0.23 decrypts a record where it is, and then hands out a copy. The first record of a
//! connection shows where its plaintext is; from then on the copies are not used ([`Plaintext`]). A
//! later version can decrypt and encrypt in the caller's buffer; then only this file and its folder
//! change. Kernel TLS would end the layer after the handshake instead.

mod connection;
mod plaintext;
mod records;

pub(crate) use plaintext::Plaintext;

use super::RECORD_HEADER;
use connection::{FRAGMENT, OVERHEAD, Opening, Record, Step, TlsConnection};
use plaintext::{CHECKED, InPlaceCheck, Opened, PLAIN_AT};
use records::{is_http, missing, record_len};
use ringway_io::Output;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, Error, HandshakeKind, ProtocolVersion, ServerConfig, SupportedCipherSuite};
use std::mem;
use std::sync::Arc;

/// The maximum number of bytes of plaintext that one call of [`TlsStream::seal`] takes. More waits
/// for the completion of the send, so that one long output does not delay other connections.
pub(crate) const SEAL_MAX: usize = 256 * 1024;

/// The number of bytes of memory that are charged for the state of rustls: 3.4 to 3.6 KiB of an open
/// connection, and the stream itself.
const STATE: usize = 4096;

/// The maximum number of unprocessed bytes before the handshake is complete, if the peer sends no
/// certificate.
const HANDSHAKE_MAX: usize = 16 * 1024;

/// The same, if the peer may send certificates.
const HANDSHAKE_WITH_CERTIFICATES_MAX: usize = 64 * 1024;

/// The maximum number of unprocessed bytes after the handshake: a record, or the records of a message
/// of the protocol itself, which are kept until it is complete.
const MESSAGE_MAX: usize = 64 * 1024;

/// The TLS layer of one connection.
pub(crate) struct TlsStream {
    connection: TlsConnection,
    /// Received bytes that are not processed yet: a part of a record, or of a message of the
    /// handshake. Empty, without memory, between two records.
    partial: Vec<u8>,
    /// How many of them were processed: records of a message of the handshake that is incomplete
    /// (server role).
    processed: usize,
    /// Received bytes behind the records that were opened in this turn, and how many of them were
    /// opened since.
    kept: Vec<u8>,
    opened: usize,
    /// The number of records of plaintext that the current call can open.
    records: usize,
    /// Records of the protocol itself, which precede everything that is sealed later: the flights of
    /// the handshake, tickets, key updates and alerts.
    own: Vec<u8>,
    /// The sealed output that a short send has left over.
    unsent: Option<Output>,
    /// The send in flight, with what it has left over: its bytes, and those of plaintext in it.
    in_flight: (usize, usize),
    /// The maximum number of bytes of plaintext in a record.
    fragment: usize,
    /// The maximum number of unprocessed bytes during the handshake.
    handshake_max: usize,
    /// The maximum number of bytes that can follow the handshake while it waits for its turn (server
    /// role): those of a request.
    behind_max: usize,
    /// The peer's first message was answered, so its handshake can end in what is collected.
    is_answered: bool,
    /// The number of bytes of the peer's certificates, which rustls keeps.
    certificates: usize,
    phase: TlsPhase,
    /// Where rustls leaves the plaintext of a record, from the start of its header: behind the header
    /// and an explicit nonce (TLS 1.2). `None`: not known, or nowhere.
    plain_at: Option<u8>,
    peer_finished: bool,
    /// The connection is on the list of those whose handshake waits for its turn.
    pub(crate) is_waiting: bool,
}

/// The phase of the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TlsPhase {
    /// The handshake is in progress.
    Handshaking,
    /// Data is exchanged.
    Open,
    /// This side has sent its close_notify. Nothing more is sealed.
    Finished,
    /// The layer has failed. Nothing more is sealed or opened.
    Failed,
}

/// What [`TlsStream::receive`] has found besides plaintext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsProgress {
    /// The handshake has been completed by this call.
    pub(crate) established: bool,
    /// The peer has sent its close_notify: no plaintext follows.
    pub(crate) peer_finished: bool,
}

/// Why the layer has failed. An alert for the peer is among the stream's own records, unless the
/// peer has sent one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFailure {
    /// rustls has refused the peer's bytes.
    #[error("{0}")]
    Protocol(Error),
    /// The peer has sent more than this many bytes before its handshake was complete.
    #[error("the peer's part of the handshake is longer than {0} bytes")]
    HandshakeTooLong(usize),
    /// The peer has sent a message of the protocol itself, after the handshake, that is longer than
    /// any that it can have a use for.
    #[error("the peer sent a message of TLS itself that is longer than {MESSAGE_MAX} bytes")]
    MessageTooLong,
    /// The peer's first bytes are those of an HTTP request.
    #[error("the peer sent HTTP without TLS; it needs https:// or wss:// in its URL")]
    PlainHttp,
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> Self {
        Self::Protocol(error)
    }
}

impl TlsStream {
    /// The layer of an accepted connection. `certificates`: clients may send certificates.
    /// `max_head`: the maximum length of a request.
    pub(crate) fn server(config: Arc<ServerConfig>, certificates: bool, max_head: usize) -> Result<Self, Error> {
        let fragment = config.max_fragment_size;
        let connection = TlsConnection::Server(UnbufferedServerConnection::new(config)?);
        let handshake_max = if certificates { HANDSHAKE_WITH_CERTIFICATES_MAX } else { HANDSHAKE_MAX };
        let mut stream = Self::new(connection, fragment, handshake_max);
        // In records of at least 512 bytes.
        stream.behind_max = max_head + max_head / 16 + OVERHEAD;
        Ok(stream)
    }

    /// The layer of an outgoing connection to the server `name`. Its own records begin with the
    /// ClientHello.
    pub(crate) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        let fragment = config.max_fragment_size;
        let connection = TlsConnection::Client(UnbufferedClientConnection::new(config, name)?);
        let mut stream = Self::new(connection, fragment, HANDSHAKE_WITH_CERTIFICATES_MAX);
        stream.process(&mut [], &mut Plaintext::default())?;
        Ok(stream)
    }

    fn new(connection: TlsConnection, fragment: Option<usize>, handshake_max: usize) -> Self {
        Self {
            connection,
            partial: Vec::new(),
            processed: 0,
            kept: Vec::new(),
            opened: 0,
            records: usize::MAX,
            own: Vec::new(),
            unsent: None,
            in_flight: (0, 0),
            // The option counts the header of the record.
            fragment: fragment.map_or(FRAGMENT, |size| size.saturating_sub(RECORD_HEADER).clamp(1, FRAGMENT)),
            handshake_max,
            behind_max: 0,
            is_answered: false,
            certificates: 0,
            phase: TlsPhase::Handshaking,
            plain_at: None,
            peer_finished: false,
            is_waiting: false,
        }
    }

    /// Whether plaintext can be sealed: the handshake is complete, and this side has not ended its
    /// direction.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == TlsPhase::Open
    }

    /// Whether the handshake is in progress.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.phase == TlsPhase::Handshaking
    }

    /// Whether the peer has ended its direction with a close_notify.
    pub(crate) fn has_peer_finished(&self) -> bool {
        self.peer_finished
    }

    /// Whether records wait to be sent, apart from the output that is not sealed yet.
    pub(crate) fn has_output(&self) -> bool {
        self.unsent.is_some() || !self.own.is_empty()
    }

    /// The number of bytes of memory that the stream holds: an estimate of that of rustls, the
    /// certificates of the peer, and its buffers.
    pub(crate) fn held(&self) -> usize {
        STATE + self.certificates + self.buffered()
    }

    /// The number of bytes of memory that the stream holds for its input and its own records.
    pub(crate) fn buffered(&self) -> usize {
        self.partial.capacity() + self.kept.capacity() + self.own.capacity()
    }

    /// Handles received bytes, and adds the plaintext of the complete records to `plain`, which is
    /// empty before. After `records` records of plaintext the rest is kept for
    /// [`open_kept`](TlsStream::open_kept).
    ///
    /// Server role: during the handshake the bytes are only collected, because an answer can take a
    /// signature. [`shake_hands`](TlsStream::shake_hands) processes them.
    ///
    /// # Errors
    /// The layer has failed. `plain` has the plaintext before the failure.
    pub(crate) fn receive(
        &mut self,
        input: &mut [u8],
        records: usize,
        plain: &mut Plaintext,
    ) -> Result<TlsProgress, TlsFailure> {
        if self.is_handshaking() && matches!(self.connection, TlsConnection::Server(_)) {
            self.partial.extend_from_slice(input);
            return self.check_collected().map(|()| TlsProgress::default());
        }
        if self.has_kept() {
            self.kept.extend_from_slice(input);
            return Ok(self.progress(false));
        }
        let was_handshaking = self.is_handshaking();
        self.records = records;
        let used = self.open(input, true, plain)?;
        self.kept.extend_from_slice(&input[used..]);
        Ok(self.progress(was_handshaking))
    }

    /// Whether received bytes are kept for [`open_kept`](TlsStream::open_kept).
    pub(crate) fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Continues with the bytes that [`receive`](TlsStream::receive) has kept, up to `records`
    /// records of plaintext.
    ///
    /// # Errors
    /// As [`receive`](TlsStream::receive).
    pub(crate) fn open_kept(&mut self, records: usize, plain: &mut Plaintext) -> Result<TlsProgress, TlsFailure> {
        let was_handshaking = self.is_handshaking();
        let mut kept = mem::take(&mut self.kept);
        self.records = records;
        self.opened += self.open(&mut kept[self.opened..], false, plain)?;
        if self.opened < kept.len() {
            self.kept = kept;
        } else {
            self.opened = 0;
        }
        Ok(self.progress(was_handshaking))
    }

    /// The number of records of plaintext that the latest call could have opened in addition.
    pub(crate) fn records_left(&self) -> usize {
        self.records
    }

    /// Opens the records in `input`, and collects the part of one at the end. Returns the number of
    /// bytes that are used up: all, unless the number of records is.
    fn open(&mut self, input: &mut [u8], in_place: bool, plain: &mut Plaintext) -> Result<usize, TlsFailure> {
        let mut at = 0;
        while at < input.len() && self.records > 0 {
            // What follows a close_notify is ignored (RFC 8446 section 6.1).
            if self.phase == TlsPhase::Failed || self.peer_finished {
                return Ok(input.len());
            }
            if !self.partial.is_empty() {
                let missing_bytes = missing(&self.partial).unwrap_or(usize::MAX);
                let end = at.saturating_add(missing_bytes).min(input.len());
                self.partial.extend_from_slice(&input[at..end]);
                at = end;
                self.process_partial(plain)?;
                continue;
            }
            at += match in_place && at == 0 {
                true => self.process(input, plain)?,
                false => self.process_copied(&mut input[at..], plain)?,
            };
            if self.records > 0 && !self.peer_finished {
                self.partial.extend_from_slice(&input[at..]);
                at = input.len();
            }
        }
        self.check_collected()?;
        Ok(at)
    }

    /// Whether a record of the handshake is collected, which [`shake_hands`](TlsStream::shake_hands)
    /// has not processed yet (server role).
    pub(crate) fn has_collected_record(&self) -> bool {
        self.is_handshaking() && missing(&self.partial[self.processed..]).is_none()
    }

    /// Processes the collected records of the handshake (server role).
    ///
    /// # Errors
    /// As [`receive`](TlsStream::receive).
    pub(crate) fn shake_hands(&mut self, plain: &mut Plaintext) -> Result<TlsProgress, TlsFailure> {
        if !self.is_handshaking() {
            return Ok(self.progress(false));
        }
        // rustls moves the parts of a message together, so the records are counted before.
        let (mut end, before) = (self.processed, self.partial.len());
        self.records = usize::MAX;
        while let Some(record) = record_len(&self.partial[end..]) {
            end += record;
        }
        self.process_partial(plain)?;
        self.is_answered |= !self.own.is_empty();
        self.processed = end.saturating_sub(before - self.partial.len());
        self.check_collected()?;
        Ok(self.progress(true))
    }

    fn progress(&mut self, was_handshaking: bool) -> TlsProgress {
        let established = was_handshaking && self.is_open();
        if established {
            self.certificates = self.peer_certificates().unwrap_or_default().iter().map(|each| each.len()).sum();
        }
        TlsProgress { established, peer_finished: self.peer_finished }
    }

    /// Checks the number of bytes that are not processed, and the first ones of the peer.
    fn check_collected(&mut self) -> Result<(), TlsFailure> {
        let max = match self.phase {
            TlsPhase::Handshaking if self.is_answered && self.has_collected_record() => {
                self.handshake_max + self.behind_max
            }
            TlsPhase::Handshaking => self.handshake_max,
            _ => MESSAGE_MAX,
        };
        let failure = if self.is_handshaking() && is_http(&self.partial) {
            TlsFailure::PlainHttp
        } else if self.partial.len() <= max {
            return Ok(());
        } else if self.is_handshaking() {
            TlsFailure::HandshakeTooLong(self.handshake_max)
        } else {
            TlsFailure::MessageTooLong
        };
        self.phase = TlsPhase::Failed;
        Err(failure)
    }

    fn process_partial(&mut self, plain: &mut Plaintext) -> Result<(), Error> {
        let mut partial = mem::take(&mut self.partial);
        let used = self.process_copied(&mut partial, plain)?;
        if used < partial.len() && !self.peer_finished {
            partial.drain(..used);
            self.partial = partial;
        }
        Ok(())
    }

    /// As [`process`](Self::process), for bytes that are not the caller's input: all plaintext is
    /// copied.
    fn process_copied(&mut self, bytes: &mut [u8], plain: &mut Plaintext) -> Result<usize, Error> {
        let mut opened = Plaintext { in_place: 0..0, copied: mem::take(&mut plain.copied) };
        let used = self.process(bytes, &mut opened);
        opened.append(bytes, &[]);
        plain.copied = opened.copied;
        used
    }

    /// Processes the records in `bytes`. Returns the number of bytes that are used up. The caller keeps
    /// the others at the front of the next call's bytes: rustls remembers positions in them.
    fn process(&mut self, bytes: &mut [u8], plain: &mut Plaintext) -> Result<usize, Error> {
        let mut at = 0;
        loop {
            match self.step(bytes, &mut at, plain) {
                Ok(Step::Opened) => {
                    self.records = self.records.saturating_sub(1);
                    // Only further bytes can change the state.
                    if (at == bytes.len() || self.records == 0) && !self.is_handshaking() {
                        return Ok(at);
                    }
                }
                Ok(Step::Continue) => {}
                Ok(Step::PeerFinished) => self.peer_finished = true,
                Ok(Step::Blocked(open)) => {
                    if open && self.is_handshaking() {
                        self.phase = TlsPhase::Open;
                    }
                    return Ok(at);
                }
                Err(error) => {
                    self.phase = TlsPhase::Failed;
                    // An alert for the peer may be queued. Nothing else may be processed any more.
                    while self.connection.state().wants_write()
                        && self.step(bytes, &mut at, &mut Plaintext::default()).is_ok()
                    {}
                    return Err(error);
                }
            }
        }
    }

    fn step(&mut self, bytes: &mut [u8], at: &mut usize, plain: &mut Plaintext) -> Result<Step, Error> {
        let start = *at;
        let front = record_len(&bytes[start..]);
        let mut opening =
            Opening { own: &mut self.own, at, front, in_place: self.plain_at.is_some(), opened: Opened::None };
        let result = self.connection.step(&mut bytes[start..], &mut opening);
        match mem::take(&mut opening.opened) {
            Opened::None => {}
            Opened::InPlace(check) => {
                let first = start + usize::from(self.plain_at.unwrap_or_default());
                let range = first..first + check.len;
                if bytes.get(range.clone()).map(InPlaceCheck::of).is_none_or(|found| found.ends != check.ends) {
                    return Err(Error::General("a record was not decrypted in place".into()));
                }
                plain.append_in_place(bytes, range);
            }
            Opened::Copied { bytes: copy, is_front } => {
                if is_front && copy.len() >= CHECKED {
                    let at = PLAIN_AT.into_iter().find(|at| bytes[start + usize::from(*at)..].starts_with(&copy));
                    self.plain_at = at.or(self.plain_at);
                }
                plain.append(bytes, &copy);
            }
        }
        result
    }

    /// Takes the output that a short send has left over. It is sent before everything else.
    pub(crate) fn take_unsent(&mut self) -> Option<Output> {
        self.unsent.take()
    }

    /// Keeps the output that a short send has left over.
    pub(crate) fn keep_unsent(&mut self, output: Output) {
        debug_assert!(self.unsent.is_none(), "one send is in flight");
        self.unsent = Some(output);
    }

    /// Notes that a send of `bytes` begins, with the records of `plain` bytes.
    pub(crate) fn send_begins(&mut self, bytes: usize, plain: usize) {
        self.in_flight = (bytes, plain);
    }

    /// Notes that the kernel has taken this number of bytes of the send in flight.
    pub(crate) fn send_progresses(&mut self, written: usize) {
        self.in_flight.0 = self.in_flight.0.saturating_sub(written);
    }

    /// The bytes of the send in flight that are not plaintext. What is left of a send is taken for
    /// plaintext, up to all of that.
    pub(crate) fn overhead(&self) -> usize {
        let (bytes, plain) = self.in_flight;
        bytes.saturating_sub(plain)
    }

    /// Adds bytes to the stream's own records.
    pub(crate) fn write_own(&mut self, bytes: &[u8]) {
        self.own.extend_from_slice(bytes);
    }

    /// Moves the stream's own records to `sealed`.
    pub(crate) fn take_own(&mut self, sealed: &mut Vec<u8>) {
        sealed.append(&mut self.own);
        self.own = Vec::new();
    }

    /// Appends the records of `output` to `sealed`, up to [`SEAL_MAX`] bytes of plaintext. `scratch`
    /// joins short chunks. Returns the number of bytes of plaintext that were sealed.
    ///
    /// # Errors
    /// The keys are used up (RFC 8446 section 5.5).
    pub(crate) fn seal(
        &mut self,
        output: &Output,
        scratch: &mut Vec<u8>,
        sealed: &mut Vec<u8>,
    ) -> Result<usize, TlsFailure> {
        let len = output.len().min(SEAL_MAX);
        sealed.reserve(len + len.div_ceil(self.fragment) * OVERHEAD);
        scratch.clear();
        let mut left = len;
        for chunk in output.chunks() {
            let mut bytes = chunk.as_slice();
            bytes = &bytes[..bytes.len().min(left)];
            left -= bytes.len();
            // Short chunks are joined, so that a record is full unless it is the last one.
            if !scratch.is_empty() || (bytes.len() < self.fragment && left > 0) {
                let fill = bytes.len().min(self.fragment - scratch.len());
                scratch.extend_from_slice(&bytes[..fill]);
                bytes = &bytes[fill..];
                if scratch.len() == self.fragment {
                    self.write(Record::Data(scratch), sealed)?;
                    scratch.clear();
                }
            }
            let whole = if left == 0 { bytes.len() } else { bytes.len() - bytes.len() % self.fragment };
            if scratch.is_empty() && whole > 0 {
                self.write(Record::Data(&bytes[..whole]), sealed)?;
                bytes = &bytes[whole..];
            }
            scratch.extend_from_slice(bytes);
            if left == 0 {
                break;
            }
        }
        if !scratch.is_empty() {
            self.write(Record::Data(scratch), sealed)?;
            scratch.clear();
        }
        Ok(len)
    }

    /// Appends this side's close_notify to `sealed`. Nothing is sealed after it.
    pub(crate) fn finish(&mut self, sealed: &mut Vec<u8>) {
        if self.is_open() {
            self.phase = TlsPhase::Finished;
            // Without it, the peer sees an end that may be an attack, which is reported there.
            let _ = self.write(Record::CloseNotify, sealed);
        }
    }

    fn write(&mut self, record: Record<'_>, sealed: &mut Vec<u8>) -> Result<(), TlsFailure> {
        self.connection.write(&mut self.partial, record, sealed).map_err(TlsFailure::Protocol)
    }

    // What the handshake has agreed on.

    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.connection.state().protocol_version()
    }

    pub(crate) fn cipher_suite(&self) -> Option<SupportedCipherSuite> {
        self.connection.state().negotiated_cipher_suite()
    }

    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.connection.state().peer_certificates()
    }

    pub(crate) fn alpn_protocol(&self) -> Option<&[u8]> {
        self.connection.state().alpn_protocol()
    }

    /// Whether the session was resumed from a ticket.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

#[cfg(test)]
pub(crate) mod tests;
