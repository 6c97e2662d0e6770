use super::*;

const CLIENT: &str = "127.0.0.1:40000";
const SERVER: &str = "127.0.0.1:9001";

/// A packet of a file.
#[derive(Debug)]
struct Packet {
    time: Duration,
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    acknowledged: u32,
    flags: u8,
    payload: Vec<u8>,
}

fn number<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("long enough")
}

fn parse(file: &[u8]) -> Vec<Packet> {
    assert_eq!(u32::from_le_bytes(number(file)), 0xa1b2_3c4d, "nanoseconds");
    assert_eq!((u16::from_le_bytes(number(&file[4..])), u16::from_le_bytes(number(&file[6..]))), (2, 4));
    assert_eq!(u32::from_le_bytes(number(&file[20..])), LINK_TYPE);
    let (mut packets, mut rest) = (Vec::new(), &file[24..]);
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(number(&rest[at..]));
        let time = Duration::new(word(0).into(), word(4));
        let len = word(8) as usize;
        assert_eq!(len, word(12) as usize, "the whole packet");
        let packet = &rest[16..16 + len];
        rest = &rest[16 + len..];
        let (from, to, tcp): (IpAddr, IpAddr, _) = match packet[0] >> 4 {
            4 => (number::<4>(&packet[12..]).into(), number::<4>(&packet[16..]).into(), &packet[20..]),
            6 => (number::<16>(&packet[8..]).into(), number::<16>(&packet[24..]).into(), &packet[40..]),
            version => panic!("IP version {version}"),
        };
        let port = |at: usize| u16::from_be_bytes(number(&tcp[at..]));
        packets.push(Packet {
            time,
            from: (from, port(0)).into(),
            to: (to, port(2)).into(),
            sequence: u32::from_be_bytes(number(&tcp[4..])),
            acknowledged: u32::from_be_bytes(number(&tcp[8..])),
            flags: tcp[13],
            payload: tcp[usize::from(tcp[12] >> 4) * 4..].to_vec(),
        });
    }
    packets
}

/// The bytes that `from` has sent, by their sequence numbers: `None` for those that are missing.
fn stream(packets: &[Packet], from: SocketAddr) -> Vec<Option<u8>> {
    let start = packets.iter().find(|packet| packet.from == from && packet.flags & flag::SYN != 0).expect("a SYN");
    let mut bytes = Vec::new();
    for packet in packets.iter().filter(|packet| packet.from == from) {
        let at = packet.sequence.wrapping_sub(start.sequence).wrapping_sub(1) as usize;
        if packet.payload.is_empty() && packet.flags & flag::FIN == 0 {
            continue;
        }
        assert!(at >= bytes.len(), "no byte is sent twice");
        bytes.resize(at, None);
        bytes.extend(packet.payload.iter().copied().map(Some));
    }
    bytes
}

/// Checks that each acknowledgement is the next sequence number of the other side.
fn assert_acknowledged(packets: &[Packet]) {
    for (at, packet) in packets.iter().enumerate().filter(|(_, packet)| packet.flags & flag::ACK != 0) {
        let last = packets[..at].iter().rev().find(|other| other.from == packet.to).expect("a SYN is first");
        let controls = u32::from(last.flags & (flag::SYN | flag::FIN) != 0);
        let next = last.sequence.wrapping_add(last.payload.len() as u32).wrapping_add(controls);
        assert_eq!(packet.acknowledged, next, "{packet:?}");
    }
}

fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_368_600) + Duration::from_millis(millis)
}

fn ends(client: &str, server: &str) -> Ends {
    Ends::new(1, client.parse().ok(), server.parse().ok())
}

fn known(bytes: &[u8]) -> Vec<Option<u8>> {
    bytes.iter().copied().map(Some).collect()
}

/// What a capture contains after `write`.
fn captured(write: impl FnOnce(&mut Capture<&mut Vec<u8>>)) -> Vec<Packet> {
    let mut file = Vec::new();
    let mut capture = Capture::new(Bounded::new(&mut file, 1 << 30)).expect("room");
    write(&mut capture);
    capture.flush().expect("memory");
    drop(capture);
    parse(&file)
}

#[test]
fn a_connection_is_a_handshake_its_bytes_and_two_fins() {
    let long: Vec<u8> = (0..200_000).map(|at| (at % 251) as u8).collect();
    for addresses in [(CLIENT, SERVER), ("[::1]:40000", "[2001:db8::2]:9001")] {
        let packets = captured(|capture| {
            capture.open(1, at(0), ends(addresses.0, addresses.1)).expect("room");
            capture.bytes(1, at(1), Side::Client, 0, b"GET / HTTP/1.1\r\n\r\n").expect("room");
            capture.bytes(1, at(2), Side::Server, 0, b"HTTP/1.1 101\r\n\r\n").expect("room");
            capture.bytes(1, at(3), Side::Client, 18, &long).expect("room");
            capture.bytes(1, at(4), Side::Server, 16, b"\x88\x00").expect("room");
            capture.close(1, at(5), Side::Server, [200_018, 18]).expect("room");
        });
        let (client, server) = (addresses.0.parse().expect("one"), addresses.1.parse().expect("one"));
        let flags: Vec<u8> = packets[..3].iter().map(|packet| packet.flags).collect();
        assert_eq!(flags, [flag::SYN, flag::SYN | flag::ACK, flag::ACK]);
        assert_eq!((packets[0].from, packets[0].to, packets[1].from), (client, server, server));
        assert!(stream(&packets, client) == known(&[b"GET / HTTP/1.1\r\n\r\n", &long[..]].concat()));
        assert_eq!(stream(&packets, server), known(b"HTTP/1.1 101\r\n\r\n\x88\x00"));
        assert!(packets.iter().all(|packet| packet.payload.len() <= MAX_SEGMENT));
        assert_acknowledged(&packets);
        let last: Vec<_> = packets[packets.len() - 3..].iter().map(|packet| (packet.from, packet.flags)).collect();
        let fin = flag::FIN | flag::ACK;
        assert_eq!(last, [(server, fin), (client, fin), (server, flag::ACK)]);
        assert_eq!(packets[0].time, Duration::from_secs(1_795_368_600));
        assert_eq!(packets.last().map(|packet| packet.time.subsec_millis()), Some(5));
    }
}

#[test]
fn lost_bytes_are_a_gap_in_the_sequence_numbers() {
    let packets = captured(|capture| {
        capture.open(1, at(0), ends(CLIENT, SERVER)).expect("room");
        capture.bytes(1, at(1), Side::Server, 0, b"ab").expect("room");
        capture.bytes(1, at(2), Side::Server, 5, b"fg").expect("room");
        capture.close(1, at(3), Side::Client, [0, 10]).expect("room");
    });
    let server = SERVER.parse().expect("an address");
    let mut expected = [known(b"ab"), vec![None; 3], known(b"fg"), vec![None; 3]].concat();
    assert_eq!(stream(&packets, server), expected);
    expected.clear();
    assert_eq!(stream(&packets, CLIENT.parse().expect("an address")), expected);
}

#[test]
fn a_silent_receiver_acknowledges_now_and_then() {
    let piece = vec![7; MAX_SEGMENT];
    let packets = captured(|capture| {
        capture.open(1, at(0), ends(CLIENT, SERVER)).expect("room");
        for count in 0..100 {
            let offset = count * MAX_SEGMENT as u64;
            capture.bytes(1, at(count), Side::Server, offset, &piece).expect("room");
        }
    });
    assert_acknowledged(&packets);
    let mut unacknowledged = 0;
    for packet in &packets {
        let from_server = packet.from == SERVER.parse().expect("an address");
        unacknowledged = if from_server { unacknowledged + packet.payload.len() as u64 } else { 0 };
        assert!(unacknowledged <= ACKNOWLEDGED_AFTER + MAX_SEGMENT as u64);
    }
}

#[test]
fn connections_are_kept_apart() {
    let packets = captured(|capture| {
        for (number, client) in [(1, CLIENT), (2, "127.0.0.1:40001")] {
            capture.open(number, at(0), Ends::new(number, client.parse().ok(), SERVER.parse().ok())).expect("room");
            capture.bytes(number, at(1), Side::Client, 0, &[number as u8; 3]).expect("room");
        }
        capture.bytes(1, at(2), Side::Client, 3, b"again").expect("room");
        // Unknown connections are left out: their beginning was.
        capture.bytes(3, at(3), Side::Client, 0, b"?").expect("room");
        capture.close(3, at(3), Side::Client, [1, 0]).expect("room");
    });
    assert_eq!(packets.iter().filter(|packet| packet.flags & flag::SYN != 0).count(), 4);
    assert_eq!(stream(&packets, CLIENT.parse().expect("one")), known(b"\x01\x01\x01again"));
    assert_ne!(packets[0].sequence, packets[4].sequence, "a later connection has other sequence numbers");
}

#[test]
fn missing_addresses_are_replaced_by_ones_for_documentation() {
    let unix = Ends::new(3, None, None);
    assert_eq!((unix.client.to_string(), unix.server.to_string()), ("192.0.2.1:49155".into(), "192.0.2.2:80".into()));
    let gone = Ends::new(1, None, "[::1]:9001".parse().ok());
    assert_eq!((gone.client.to_string(), gone.server.to_string()), ("[2001:db8::1]:49153".into(), "[::1]:9001".into()));
    let mapped = ends("[::ffff:10.0.0.1]:5", "[::ffff:10.0.0.2]:80");
    assert_eq!((mapped.client.to_string(), mapped.server.to_string()), ("10.0.0.1:5".into(), "10.0.0.2:80".into()));
}

#[test]
fn a_file_at_its_limit_ends_with_a_whole_packet() {
    for max in 24..1000 {
        let mut file = Vec::new();
        let mut capture = Capture::new(Bounded::new(&mut file, max)).expect("the header fits");
        let mut write = || -> Result<(), TraceEnd> {
            capture.open(1, at(0), ends(CLIENT, SERVER))?;
            for count in 0.. {
                capture.bytes(1, at(1), Side::Client, count * 100, &[1; 100])?;
            }
            Ok(())
        };
        assert!(matches!(write(), Err(TraceEnd::Limit(limit)) if limit == max));
        capture.flush().expect("memory");
        drop(capture);
        assert!(file.len() as u64 <= max);
        parse(&file);
    }
}
