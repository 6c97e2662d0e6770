//! The unbuffered connections of rustls: one step with received bytes, one record to send.

use super::plaintext::{InPlaceCheck, Opened};
use crate::tls::RECORD_HEADER;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error};
use std::mem;

/// The plaintext of one record, unless the configuration has less.
pub(super) const FRAGMENT: usize = 16 * 1024;

/// The maximum number of bytes that sealing adds to a record: its header, an explicit nonce (TLS
/// 1.2), the type of its content (TLS 1.3) and the tag.
pub(super) const OVERHEAD: usize = RECORD_HEADER + 8 + 1 + 16;

/// A connection of rustls, in either role.
pub(super) enum TlsConnection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl TlsConnection {
    /// Handles the next status of rustls, with these received bytes.
    pub(super) fn step(&mut self, bytes: &mut [u8], opening: &mut Opening<'_>) -> Result<Step, Error> {
        match self {
            Self::Server(server) => step(server.process(bytes), opening),
            Self::Client(client) => step(client.process(bytes), opening),
        }
    }

    /// Appends `record` to `sealed`, after the records that rustls has queued. `partial` has the
    /// received bytes that are not processed yet.
    pub(super) fn write(&mut self, partial: &mut [u8], record: Record<'_>, sealed: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Server(server) => write(server, partial, record, sealed),
            Self::Client(client) => write(client, partial, record, sealed),
        }
    }

    /// Reads the state that both roles have.
    pub(super) fn state(&self) -> &CommonState {
        match self {
            Self::Server(server) => server,
            Self::Client(client) => client,
        }
    }
}

/// What a connection of one role does with received bytes.
trait Records {
    type Data;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
}

/// The result of one step of rustls.
pub(super) enum Step {
    /// Another step follows.
    Continue,
    /// There was plaintext. Another step follows if there are more bytes.
    Opened,
    /// The peer has sent its close_notify. Another step follows.
    PeerFinished,
    /// More bytes are needed. `true`: data can be sent.
    Blocked(bool),
}

/// A record to write.
#[derive(Clone, Copy)]
pub(super) enum Record<'a> {
    /// Plaintext, in as many records as it needs.
    Data(&'a [u8]),
    CloseNotify,
}

/// What one step of rustls changes.
pub(super) struct Opening<'a> {
    /// The stream's own records.
    pub(super) own: &'a mut Vec<u8>,
    /// The number of bytes that are used up.
    pub(super) at: &'a mut usize,
    /// The length of the record at the front of the bytes, if it is complete.
    pub(super) front: Option<usize>,
    /// Plaintext is expected where its record was.
    pub(super) in_place: bool,
    pub(super) opened: Opened,
}

/// Handles one status of rustls.
fn step<D>(status: UnbufferedStatus<'_, '_, D>, opening: &mut Opening<'_>) -> Result<Step, Error> {
    *opening.at += status.discard;
    Ok(match status.state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            // One record, unless others without plaintext precede it.
            let is_front = opening.front == Some(status.discard);
            while let Some(record) = traffic.next_record() {
                let record = record?;
                *opening.at += record.discard;
                opening.opened = match mem::take(&mut opening.opened) {
                    Opened::None if is_front && opening.in_place => Opened::InPlace(InPlaceCheck::of(record.payload)),
                    Opened::None => Opened::Copied { bytes: record.payload.to_vec(), is_front },
                    Opened::Copied { mut bytes, .. } => {
                        bytes.extend_from_slice(record.payload);
                        Opened::Copied { bytes, is_front: false }
                    }
                    Opened::InPlace(_) => return Err(Error::General("one record, and two plaintexts".into())),
                };
            }
            Step::Opened
        }
        ConnectionState::EncodeTlsData(data) => {
            encode(data, opening.own)?;
            Step::Continue
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Step::Continue
        }
        ConnectionState::PeerClosed => Step::PeerFinished,
        ConnectionState::WriteTraffic(_) => Step::Blocked(true),
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Step::Blocked(false),
        // Early data is not accepted, so rustls does not report it.
        _ => return Err(Error::General("an unknown state of the connection".into())),
    })
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, own: &mut Vec<u8>) -> Result<(), Error> {
    let start = own.len();
    let mut written = data.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(size)) = &written {
        own.resize(start + size.required_size, 0);
        written = data.encode(&mut own[start..]);
    }
    match written {
        Ok(len) => {
            own.truncate(start + len);
            Ok(())
        }
        Err(error) => Err(Error::General(error.to_string())),
    }
}

fn write<C: Records>(
    connection: &mut C,
    partial: &mut [u8],
    record: Record<'_>,
    sealed: &mut Vec<u8>,
) -> Result<(), Error> {
    let len = match record {
        Record::Data(plain) => plain.len() + plain.len().div_ceil(FRAGMENT) * OVERHEAD,
        Record::CloseNotify => 2 + OVERHEAD,
    };
    loop {
        let status = connection.process(partial);
        debug_assert_eq!(status.discard, 0, "the bytes were processed when they were received");
        match status.state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                let start = sealed.len();
                sealed.resize(start + len, 0);
                let mut written = write_record(&mut traffic, record, &mut sealed[start..]);
                if let Err(EncryptError::InsufficientSize(size)) = &written {
                    sealed.resize(start + size.required_size, 0);
                    written = write_record(&mut traffic, record, &mut sealed[start..]);
                }
                sealed.truncate(start + written.as_ref().copied().unwrap_or(0));
                return written.map(drop).map_err(|_| Error::EncryptError);
            }
            ConnectionState::EncodeTlsData(data) => encode(data, sealed)?,
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {}
            _ => return Err(Error::EncryptError),
        }
    }
}

fn write_record<D>(
    traffic: &mut WriteTraffic<'_, D>,
    record: Record<'_>,
    sealed: &mut [u8],
) -> Result<usize, EncryptError> {
    match record {
        Record::Data(plain) => traffic.encrypt(plain, sealed),
        Record::CloseNotify => traffic.queue_close_notify(sealed),
    }
}
