use super::*;
use proptest::prelude::*;
use std::time::UNIX_EPOCH;

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: server.example\r\nUpgrade: WebSocket\r\n\r\n";
const ACCEPT: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

type Parts = Vec<(Side, Vec<u8>)>;

/// The lines of a connection, marked with their side.
fn observed(parts: &[(Side, Vec<u8>)]) -> Vec<String> {
    let (mut observer, mut offsets, mut lines) = (Observer::default(), [0; 2], Vec::new());
    for (side, bytes) in parts {
        observer.bytes(*side, offsets[*side as usize], bytes, UNIX_EPOCH, &mut lines);
        offsets[*side as usize] += bytes.len() as u64;
    }
    observer.finish(offsets, UNIX_EPOCH, &mut lines);
    text(lines)
}

fn text(lines: Vec<(Side, TimedLine)>) -> Vec<String> {
    lines
        .into_iter()
        .map(|(side, (_, line))| format!("{} {line}", if side == Side::Client { 'C' } else { 'S' }))
        .collect()
}

fn client(bytes: &[u8]) -> (Side, Vec<u8>) {
    (Side::Client, bytes.to_vec())
}

fn server(bytes: &[u8]) -> (Side, Vec<u8>) {
    (Side::Server, bytes.to_vec())
}

/// A frame with any first byte.
fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(bit | len as u8),
        len @ 126..65_536 => {
            frame.push(bit | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(bit | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask.into_iter().flatten());
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask.map_or(0, |mask| mask[at % 4])));
    frame
}

const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

fn open() -> Parts {
    vec![client(REQUEST), server(ACCEPT)]
}

/// The lines behind the opening handshake.
fn observed_open(parts: Parts) -> Vec<String> {
    observed(&[open(), parts].concat())[5..].to_vec()
}

#[test]
fn a_conversation_is_its_heads_and_frames() {
    let parts = [
        open(),
        vec![
            client(&frame(0x81, "Grüße".as_bytes(), MASK)),
            server(&frame(0x82, &[0, 1, 0xff], None)),
            client(&[frame(0x01, b"two ", MASK), frame(0x89, b"", MASK), frame(0x80, b"frames", MASK)].concat()),
            server(&frame(0x8a, b"", None)),
            client(&frame(0x81, &[b'x'; 70_000], MASK)),
            client(&frame(0x88, b"\x0f\xa1bye", MASK)),
            server(&frame(0x88, b"\x0f\xa1", None)),
        ],
    ];
    let x = "x".repeat(64);
    assert_eq!(
        observed(&parts.concat()),
        [
            "C GET /chat HTTP/1.1",
            "C   Host: server.example",
            "C   Upgrade: WebSocket",
            "S HTTP/1.1 101 Switching Protocols",
            "S   Upgrade: websocket",
            "C text FIN len=7 mask=37fa213d \"Grüße\"",
            "S binary FIN len=3 00 01 ff",
            "C text - len=4 mask=37fa213d \"two \"",
            "C ping FIN len=0 mask=37fa213d",
            "C continuation FIN len=6 mask=37fa213d \"frames\"",
            "S pong FIN len=0",
            &format!("C text FIN len=70000 mask=37fa213d \"{x}\" +69936 bytes"),
            "C close FIN len=5 mask=37fa213d 4001 \"bye\"",
            "S close FIN len=2 4001",
        ]
    );
}

#[test]
fn compressed_messages_are_marked_in_all_of_their_frames() {
    let lines = observed_open(vec![
        server(&frame(0x41, &[0xf2, 0x48], None)),
        server(&frame(0x89, b"p", None)),
        server(&frame(0x80, &[0xcd], None)),
        server(&frame(0x81, b"plain", None)),
    ]);
    assert_eq!(
        lines,
        [
            "S text RSV1 len=2 compressed f2 48",
            "S ping FIN len=1 \"p\"",
            "S continuation FIN len=1 compressed cd",
            "S text FIN len=5 \"plain\"",
        ]
    );
}

#[test]
fn frames_that_the_client_sends_before_the_response_are_read_after_it() {
    let early = [REQUEST, &frame(0x81, b"early", MASK)].concat();
    let lines = observed(&[client(&early), server(ACCEPT), client(&frame(0x81, b"late", MASK))]);
    assert_eq!(lines[5..], ["C text FIN len=5 mask=37fa213d \"early\"", "C text FIN len=4 mask=37fa213d \"late\""]);
    let lines = observed(&[client(&early)]);
    assert_eq!(lines[3..], ["C before the response 81 85 37 fa 21 3d 52 9b 53 51 4e"]);
}

#[test]
fn http_before_the_websocket_is_read_with_its_bodies() {
    let lines = observed(&[
        client(b"GET /livez HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\n"),
        server(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlive"),
        server(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"),
        client(REQUEST),
        server(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 70\r\n\r\n"),
        server(&[b'n'; 70]),
        client(REQUEST),
        server(b"HTTP/1.1 100 Continue\r\n\r\n"),
        server(&[ACCEPT, &frame(0x89, b"x", None)].concat()),
    ]);
    let nos = "n".repeat(64);
    let expected = [
        "C GET /livez HTTP/1.1",
        "C HEAD / HTTP/1.1",
        "S HTTP/1.1 200 OK",
        "S   Content-Length: 4",
        "S body \"live\"",
        "S HTTP/1.1 200 OK",
        "S   Content-Length: 9999",
        "C GET /chat HTTP/1.1",
        "C   Host: server.example",
        "C   Upgrade: WebSocket",
        "S HTTP/1.1 403 Forbidden",
        "S   content-length: 70",
        &format!("S body \"{nos}\" +6 bytes"),
        "C GET /chat HTTP/1.1",
        "C   Host: server.example",
        "C   Upgrade: WebSocket",
        "S HTTP/1.1 100 Continue",
        "S HTTP/1.1 101 Switching Protocols",
        "S   Upgrade: websocket",
        "S ping FIN len=1 \"x\"",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn what_is_neither_http_nor_a_frame_is_shown_in_hexadecimal() {
    assert_eq!(observed(&[client(&[22, 3, 1, 0])]), ["C undecoded (not HTTP) 16 03 01 00"]);
    assert_eq!(observed(&[client(b"GET /\0\x1b[2J")]), ["C incomplete head \"GET /\\0\\u{1b}[2J\""]);
    let lines = observed_open(vec![client(&[0xf1, 0x85, 1, 2]), server(&frame(0x81, b"on", None))]);
    let error = ringway_codec::ProtocolError::ReservedBits(0xf1);
    assert_eq!(lines, ["S text FIN len=2 \"on\"".to_owned(), format!("C undecoded ({error}) f1 85 01 02")]);
}

#[test]
fn heads_and_early_bytes_are_bounded() {
    let lines = observed(&[client(&[b'A'; 3 * MAX_HEAD])]);
    assert!(lines.len() == 1 && lines[0].starts_with("C undecoded (a head that is too long) 41 41"), "{lines:?}");
    let mut observer = Observer::default();
    let mut lines = Vec::new();
    observer.bytes(Side::Client, 0, REQUEST, UNIX_EPOCH, &mut lines);
    for count in 0..100 {
        observer.bytes(Side::Client, (REQUEST.len() + count * 1000) as u64, &[1; 1000], UNIX_EPOCH, &mut lines);
    }
    assert!(matches!(&observer.client, Stage::Unknown { excerpt, .. } if excerpt.bytes.len() == EXCERPT));
}

/// The lines of an open connection whose server has sent `before`, then lost bytes, then `behind`.
fn after_loss(before: &[u8], lost: u64, behind: &[u8]) -> Vec<String> {
    let (mut observer, mut lines) = (Observer::default(), Vec::new());
    observer.bytes(Side::Client, 0, REQUEST, UNIX_EPOCH, &mut lines);
    observer.bytes(Side::Server, 0, &[ACCEPT, before].concat(), UNIX_EPOCH, &mut lines);
    let offset = (ACCEPT.len() + before.len()) as u64 + lost;
    observer.bytes(Side::Server, offset, behind, UNIX_EPOCH, &mut lines);
    observer.finish([REQUEST.len() as u64, offset + behind.len() as u64], UNIX_EPOCH, &mut lines);
    text(lines)[5..].to_vec()
}

#[test]
fn frames_behind_a_gap_within_a_payload_are_read() {
    let long = frame(0x82, &[7; 1000], None);
    let lines = after_loss(&long[..10], 900, &[&long[910..], &frame(0x81, b"next", None)].concat());
    assert_eq!(
        lines,
        [
            "S binary FIN len=1000 07 07 07 07 07 07 +994 bytes",
            "S 900 bytes are missing: the queue of the trace was full",
            "S text FIN len=4 \"next\"",
        ]
    );
}

#[test]
fn nothing_is_read_behind_a_gap_that_hides_a_header() {
    let lines = after_loss(&frame(0x81, b"whole", None)[..4], 100, b"\x81\x01?");
    assert_eq!(
        lines,
        [
            "S text FIN len=5 \"wh\" +3 bytes",
            "S the last 3 bytes of this frame are missing",
            "S 100 bytes are missing: the queue of the trace was full",
            "S undecoded (behind missing bytes) 81 01 3f",
        ]
    );
}

#[test]
fn a_loss_at_the_end_is_reported() {
    let (mut observer, mut lines) = (Observer::default(), Vec::new());
    observer.bytes(Side::Client, 0, REQUEST, UNIX_EPOCH, &mut lines);
    observer.finish([REQUEST.len() as u64 + 5, 0], UNIX_EPOCH, &mut lines);
    assert_eq!(text(lines).last().map(String::as_str), Some("C 5 bytes are missing: the queue of the trace was full"));
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![0..200_usize, Just(125), Just(126), Just(65_535), Just(65_536)];
    (any::<u8>(), lengths, any::<Option<[u8; 4]>>(), any::<u8>()).prop_map(|(first, len, mask, fill)| {
        let payload: Vec<u8> = (0..len).map(|at| fill.wrapping_add((at % 90) as u8)).collect();
        // Most of them are valid.
        frame(
            if first < 200 { [0x81, 0x82, 0x01, 0x80, 0x00, 0x89, 0xc1][usize::from(first) % 7] } else { first },
            &payload,
            mask,
        )
    })
}

/// What both sides send, one after another.
fn any_parts() -> impl Strategy<Value = Parts> {
    let side = any::<bool>().prop_map(|is_client| if is_client { Side::Client } else { Side::Server });
    let heads = prop_oneof![
        4 => Just(open()),
        1 => Just(vec![client(REQUEST), server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno.")]),
        1 => Just(Vec::new()),
    ];
    let later = prop::collection::vec((side, prop::collection::vec(any_frame(), 0..4)), 0..6);
    (heads, later).prop_map(|(heads, later)| {
        heads.into_iter().chain(later.into_iter().map(|(side, frames)| (side, frames.concat()))).collect()
    })
}

proptest! {
    #[test]
    fn the_lines_do_not_depend_on_how_the_bytes_are_split(
        parts in any_parts(),
        cuts in prop::collection::vec(1..400_usize, 1..60),
    ) {
        let mut cuts = cuts.into_iter().cycle();
        let mut split = Parts::new();
        for (side, bytes) in &parts {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                split.push((*side, now.to_vec()));
                rest = later;
            }
        }
        prop_assert_eq!(observed(&parts), observed(&split));
    }

    #[test]
    fn any_bytes_are_observed_without_a_panic(
        parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300), 0..50_u64), 0..20),
        opens in any::<bool>(),
    ) {
        let (mut observer, mut offsets, mut lines) = (Observer::default(), [0; 2], Vec::new());
        let heads = if opens { open() } else { Vec::new() };
        let parts = parts.into_iter().map(|(is_client, bytes, lost)| {
            (if is_client { Side::Client } else { Side::Server }, bytes, lost / 25)
        });
        for (side, bytes, lost) in heads.into_iter().map(|(side, bytes)| (side, bytes, 0)).chain(parts) {
            let offset = &mut offsets[side as usize];
            *offset += lost;
            observer.bytes(side, *offset, &bytes, UNIX_EPOCH, &mut lines);
            *offset += bytes.len() as u64;
        }
        observer.finish(offsets, UNIX_EPOCH, &mut lines);
        for (_, (_, line)) in lines {
            prop_assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
