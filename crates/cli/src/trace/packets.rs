//! TCP segments in IP packets, as bytes (RFC 791, RFC 8200, RFC 9293), with their checksums.

use std::net::{IpAddr, SocketAddr};

/// The maximum payload of a segment. The longest IPv4 packet has 65 535 bytes.
pub(super) const MAX_SEGMENT: usize = 60 * 1024;

const TCP: u8 = 6;
const TTL: u8 = 64;

/// The flags of a segment.
pub(super) mod flag {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
}

/// The options of a SYN: the maximum segment size, and behind a no-operation for the alignment the
/// largest window scale, so that the window is never full.
const SYN_OPTIONS: [u8; 8] = [2, 4, (MAX_SEGMENT >> 8) as u8, MAX_SEGMENT as u8, 1, 3, 3, 14];

/// A segment between two addresses of one family.
pub(super) struct Segment<'b> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
    /// At most [`MAX_SEGMENT`] bytes.
    pub(super) payload: &'b [u8],
}

impl Segment<'_> {
    /// Appends the packet, from its IP header on.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(self.payload.len() <= MAX_SEGMENT);
        let options: &[u8] = if self.flags & flag::SYN == 0 { &[] } else { &SYN_OPTIONS };
        let header = 20 + options.len();
        let len = header + self.payload.len();
        let mut sum = Checksum::default();
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let start = out.len();
                out.extend([0x45, 0]);
                out.extend((20 + len as u16).to_be_bytes());
                // No fragments: the identification is not used (RFC 6864).
                out.extend([0, 0, 0x40, 0, TTL, TCP, 0, 0]);
                out.extend(from.octets());
                out.extend(to.octets());
                let mut of_header = Checksum::default();
                of_header.add(&out[start..]);
                out[start + 10..start + 12].copy_from_slice(&of_header.finish());
                sum.add(&from.octets());
                sum.add(&to.octets());
            }
            (from, to) => {
                let (from, to) = (as_v6(from), as_v6(to));
                out.extend([0x60, 0, 0, 0]);
                out.extend((len as u16).to_be_bytes());
                out.extend([TCP, TTL]);
                out.extend(from);
                out.extend(to);
                sum.add(&from);
                sum.add(&to);
            }
        }
        sum.add(&[0, TCP]);
        sum.add(&(len as u16).to_be_bytes());
        let start = out.len();
        out.extend(self.from.port().to_be_bytes());
        out.extend(self.to.port().to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.acknowledged.to_be_bytes());
        out.extend([(header as u8 / 4) << 4, self.flags]);
        // Window, checksum, urgent pointer.
        out.extend([0xff, 0xff, 0, 0, 0, 0]);
        out.extend(options);
        out.extend(self.payload);
        sum.add(&out[start..]);
        out[start + 16..start + 18].copy_from_slice(&sum.finish());
    }
}

fn as_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The checksum of the Internet (RFC 1071).
#[derive(Default)]
struct Checksum(u32);

impl Checksum {
    /// Adds bytes. Only the last call can have an odd number of them.
    fn add(&mut self, bytes: &[u8]) {
        let (pairs, last) = bytes.as_chunks::<2>();
        let words =
            pairs.iter().map(|pair| u16::from_be_bytes(*pair)).chain(last.first().map(|byte| u16::from(*byte) << 8));
        for word in words {
            self.0 += u32::from(word);
            // Folded here, so that the sum does not overflow.
            self.0 = (self.0 & 0xffff) + (self.0 >> 16);
        }
    }

    fn finish(self) -> [u8; 2] {
        (!(((self.0 & 0xffff) + (self.0 >> 16)) as u16)).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(from: &str, to: &str, flags: u8, payload: &[u8]) -> Vec<u8> {
        let (from, to) = (from.parse().expect("an address"), to.parse().expect("an address"));
        let mut packet = Vec::new();
        Segment { from, to, sequence: 0x0102_0304, acknowledged: 0x0506_0708, flags, payload }.encode(&mut packet);
        packet
    }

    /// The sum in ones' complement, which is 0xffff over bytes that contain their own checksum.
    fn sum(parts: &[&[u8]]) -> u16 {
        let bytes: Vec<u8> = parts.concat();
        let total: u64 =
            bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0))).sum();
        let mut total = total;
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn rfc1071_3_the_example_of_the_checksum() {
        let mut sum = Checksum::default();
        sum.add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.finish(), (!0xddf2_u16).to_be_bytes());
    }

    #[test]
    fn both_checksums_of_an_ipv4_packet_are_right_for_all_lengths() {
        for len in (0..70).chain([1447, 1448, MAX_SEGMENT - 1, MAX_SEGMENT]) {
            let payload: Vec<u8> = (0..len).map(|at| (at * 37 + 5) as u8).collect();
            let packet = encode("127.0.0.1:9001", "203.0.113.7:40000", flag::ACK | flag::PSH, &payload);
            assert_eq!(packet.len(), 40 + len);
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            assert_eq!(sum(&[&packet[..20]]), 0xffff, "{len}");
            let pseudo = [&packet[12..20], &[0, TCP][..], &((20 + len) as u16).to_be_bytes()[..]].concat();
            assert_eq!(sum(&[&pseudo, &packet[20..]]), 0xffff, "{len}");
            assert!(packet.ends_with(&payload));
        }
    }

    #[test]
    fn the_checksum_of_an_ipv6_packet_is_right_for_all_lengths() {
        for len in (0..70).chain([MAX_SEGMENT]) {
            let payload = vec![0xfe; len];
            let packet = encode("[::1]:443", "[2001:db8::17]:50000", flag::ACK, &payload);
            assert_eq!((packet[0] >> 4, packet.len()), (6, 60 + len));
            assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), 20 + len);
            let pseudo = [&packet[8..40], &[0, TCP][..], &((20 + len) as u16).to_be_bytes()[..]].concat();
            assert_eq!(sum(&[&pseudo, &packet[40..]]), 0xffff, "{len}");
        }
    }

    #[test]
    fn a_syn_has_a_segment_size_and_a_window_scale() {
        let packet = encode("127.0.0.1:1", "127.0.0.1:2", flag::SYN, b"");
        assert_eq!((packet[32] >> 4, packet[33], &packet[40..]), (7, flag::SYN, &SYN_OPTIONS[..]));
    }
}
