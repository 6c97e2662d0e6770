//! Traced connections as a packet capture: what TCP would have carried, without TLS.
//!
//! The file is a classic pcap file with nanoseconds and raw IP packets (link type 101). Each
//! connection begins with the three segments of its handshake and ends with a FIN of each side. The
//! bytes have the sequence numbers of their offsets, so that lost bytes are a gap as in a capture
//! that has missed packets.

use super::output::{Bounded, TraceEnd};
use super::packets::{MAX_SEGMENT, Segment, flag};
use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The link type of packets that begin with their IP header (LINKTYPE_RAW).
const LINK_TYPE: u32 = 101;

/// The maximum length of a packet in the file.
const SNAP_LENGTH: u32 = 256 * 1024;

/// The bytes after which the receiver acknowledges, if it sends nothing itself.
const ACKNOWLEDGED_AFTER: u64 = 256 * 1024;

/// The port of a server without one, which stands for HTTP.
const HTTP: u16 = 80;

/// Who sends: the side that has opened the connection, or the one that has accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// The addresses of a connection in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    client: SocketAddr,
    server: SocketAddr,
}

impl Ends {
    /// The addresses of connection `number`. A missing one, as of a Unix socket, is replaced by one
    /// for documentation (RFC 5737, RFC 3849): the port of a server is 80 then, and that of a client
    /// depends on `number`.
    pub(super) fn new(number: u32, client: Option<SocketAddr>, server: Option<SocketAddr>) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (client, server) = (client.map(canonical), server.map(canonical));
        let is_v6 = client.or(server).is_some_and(|address| address.is_ipv6());
        let placeholder = |last: u8, port: u16| {
            let address: IpAddr = if is_v6 {
                Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)).into()
            } else {
                Ipv4Addr::new(192, 0, 2, last).into()
            };
            SocketAddr::new(address, port)
        };
        let port = 49_152 + (number % 16_384) as u16;
        Self {
            client: client.unwrap_or_else(|| placeholder(1, port)),
            server: server.unwrap_or_else(|| placeholder(2, HTTP)),
        }
    }

    fn of(&self, side: Side) -> SocketAddr {
        match side {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }
}

/// A capture file that is being written.
pub(super) struct Capture<W: Write> {
    out: Bounded<W>,
    connections: HashMap<u32, TracedStream>,
    record: Vec<u8>,
}

/// One connection: the next sequence number of each side.
struct TracedStream {
    ends: Ends,
    client: Position,
    server: Position,
}

#[derive(Clone, Copy)]
struct Position {
    sequence: u32,
    /// The offset of the next byte.
    offset: u64,
    /// The bytes since the other side has last acknowledged.
    unacknowledged: u64,
}

impl TracedStream {
    fn position(&mut self, side: Side) -> &mut Position {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

impl<W: Write> Capture<W> {
    /// Writes the header of the file.
    pub(super) fn new(mut out: Bounded<W>) -> Result<Self, TraceEnd> {
        let mut header = Vec::with_capacity(24);
        // Nanoseconds, little-endian; version 2.4; times in UTC.
        for word in [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, SNAP_LENGTH, LINK_TYPE] {
            header.extend(u32::to_le_bytes(word));
        }
        out.write_whole(&header)?;
        Ok(Self { out, connections: HashMap::new(), record: Vec::new() })
    }

    pub(super) fn flush(&mut self) -> Result<(), TraceEnd> {
        self.out.flush()
    }

    /// Begins connection `number` with the segments of its handshake.
    pub(super) fn open(&mut self, number: u32, time: SystemTime, ends: Ends) -> Result<(), TraceEnd> {
        // Distinct, so that a later connection of the same addresses is not taken for this one.
        let first = number.wrapping_mul(0x0100_0193);
        let start = Position { sequence: first, offset: 0, unacknowledged: 0 };
        let mut stream = TracedStream { ends, client: start, server: start };
        for (side, flags) in
            [(Side::Client, flag::SYN), (Side::Server, flag::SYN | flag::ACK), (Side::Client, flag::ACK)]
        {
            self.segment(&mut stream, side, flags, &[], time)?;
        }
        self.connections.insert(number, stream);
        Ok(())
    }

    /// Writes bytes that `side` has sent, behind `offset` others.
    pub(super) fn bytes(
        &mut self,
        number: u32,
        time: SystemTime,
        side: Side,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), TraceEnd> {
        let Some(mut stream) = self.connections.remove(&number) else { return Ok(()) };
        skip_to(stream.position(side), offset);
        for payload in bytes.chunks(MAX_SEGMENT) {
            self.segment(&mut stream, side, flag::PSH | flag::ACK, payload, time)?;
        }
        if stream.position(side).unacknowledged >= ACKNOWLEDGED_AFTER {
            self.segment(&mut stream, side.other(), flag::ACK, &[], time)?;
        }
        self.connections.insert(number, stream);
        Ok(())
    }

    /// Ends a connection with a FIN of each side. `first`: the side that has ended its direction
    /// first. `totals`: the bytes that the client and the server have sent.
    pub(super) fn close(
        &mut self,
        number: u32,
        time: SystemTime,
        first: Side,
        totals: [u64; 2],
    ) -> Result<(), TraceEnd> {
        let Some(mut stream) = self.connections.remove(&number) else { return Ok(()) };
        skip_to(&mut stream.client, totals[0]);
        skip_to(&mut stream.server, totals[1]);
        self.segment(&mut stream, first, flag::FIN | flag::ACK, &[], time)?;
        self.segment(&mut stream, first.other(), flag::FIN | flag::ACK, &[], time)?;
        self.segment(&mut stream, first, flag::ACK, &[], time)
    }

    fn segment(
        &mut self,
        stream: &mut TracedStream,
        side: Side,
        flags: u8,
        payload: &[u8],
        time: SystemTime,
    ) -> Result<(), TraceEnd> {
        let other = stream.position(side.other());
        let acknowledges = flags & flag::ACK != 0;
        if acknowledges {
            other.unacknowledged = 0;
        }
        let acknowledged = if acknowledges { other.sequence } else { 0 };
        let position = *stream.position(side);
        let segment = Segment {
            from: stream.ends.of(side),
            to: stream.ends.of(side.other()),
            sequence: position.sequence,
            acknowledged,
            flags,
            payload,
        };
        self.record.clear();
        self.record.resize(16, 0);
        segment.encode(&mut self.record);
        let len = (self.record.len() - 16) as u32;
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        for (at, word) in [since.as_secs() as u32, since.subsec_nanos(), len, len].into_iter().enumerate() {
            self.record[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
        self.out.write_whole(&self.record)?;
        let bytes = payload.len() as u64;
        let controls = u32::from(flags & (flag::SYN | flag::FIN) != 0);
        *stream.position(side) = Position {
            sequence: position.sequence.wrapping_add(payload.len() as u32).wrapping_add(controls),
            offset: position.offset + bytes,
            unacknowledged: position.unacknowledged + bytes,
        };
        Ok(())
    }
}

/// Leaves out bytes that were lost.
fn skip_to(position: &mut Position, offset: u64) {
    let skipped = offset.saturating_sub(position.offset);
    position.sequence = position.sequence.wrapping_add(skipped as u32);
    position.offset += skipped;
}

#[cfg(test)]
mod tests;
