//! Decoding whole messages and checking a request do not allocate, and the sizes that the crate
//! reports are those that it has allocated. Every allocation of the test's thread is counted.

use allocation_counter::{AllocationInfo, measure};
use ringway_codec::{
    Decoder, DeflateParams, Deflater, Event, HeadLimits, Limits, MessageKind, OpCode, Role, SpillPool, WindowBits,
    encode_client, encode_deflated, encode_server, parse_request,
};
use std::io::Read;

/// On both sides of each boundary: header lengths, inlined and dispatched kernels, vector widths.
const SIZES: [usize; 12] = [0, 1, 20, 32, 33, 64, 125, 126, 512, 4 << 10, 16 << 10, 64 << 10];

/// Text of `size` bytes with characters of every length in it.
fn text(size: usize) -> Vec<u8> {
    let mut text: Vec<u8> = "Grüße, 日本, 🦀. ".bytes().cycle().take(size).collect();
    while std::str::from_utf8(&text).is_err() {
        text.pop();
    }
    text.resize(size, b'.');
    text
}

/// Messages of all sizes and both kinds, as the peer of `role` sends them.
fn stream(role: Role) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for (i, size) in SIZES.into_iter().enumerate() {
        for opcode in [OpCode::Text, OpCode::Binary] {
            match role {
                Role::Server => encode_client(opcode, &text(size), [7, 200, 31, i as u8], &mut bytes),
                Role::Client => encode_server(opcode, &text(size), &mut bytes),
            }
        }
    }
    (bytes, 2 * SIZES.len())
}

/// Decodes `input`, reads each message and returns their number.
fn decode(decoder: &mut Decoder, pool: &mut SpillPool, input: &mut [u8]) -> usize {
    let (mut at, mut messages) = (0, 0);
    while let Some(event) = decoder.next(pool, input, &mut at).expect("the stream is valid") {
        let Event::Message(message) = event else { panic!("the stream contains only messages: {event:?}") };
        if message.kind() == MessageKind::Text {
            assert!(message.as_text().is_some());
        }
        messages += 1;
    }
    messages
}

/// Counts the allocations of `work`. The first use of a kernel in a process detects the features of
/// the CPU, which allocates once; that is done before.
fn counted(work: impl FnOnce()) -> AllocationInfo {
    encode_client(OpCode::Binary, &[0; 64], [1, 2, 3, 4], &mut Vec::new());
    measure(work)
}

#[test]
fn the_counter_sees_allocations() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1]))).count_total, 1);
}

#[test]
fn whole_messages_are_decoded_without_an_allocation() {
    for role in [Role::Server, Role::Client] {
        let (mut bytes, expected) = stream(role);
        let (mut messages, mut empty) = (0, false);
        let allocated = counted(|| {
            // Including the decoder and its pool: a connection allocates nothing before its first
            // split message.
            let mut pool = SpillPool::new(Limits::default());
            let mut decoder = Decoder::new(role);
            messages = decode(&mut decoder, &mut pool, &mut bytes);
            empty = decoder.is_between_messages();
        });
        assert_eq!((messages, empty), (expected, true));
        assert_eq!(allocated, AllocationInfo::default(), "{role:?}");
    }
}

#[test]
fn control_frames_are_decoded_without_an_allocation() {
    let mut bytes = Vec::new();
    encode_client(OpCode::Ping, b"are you there", [1, 2, 3, 4], &mut bytes);
    encode_client(OpCode::Pong, b"", [5, 6, 7, 8], &mut bytes);
    encode_client(OpCode::Binary, b"between them", [9, 10, 11, 12], &mut bytes);
    encode_client(OpCode::Close, &1000u16.to_be_bytes(), [13, 14, 15, 16], &mut bytes);
    let mut events = 0;
    let allocated = counted(|| {
        let mut pool = SpillPool::new(Limits::default());
        let mut decoder = Decoder::new(Role::Server);
        let mut at = 0;
        while decoder.next(&mut pool, &mut bytes, &mut at).expect("the stream is valid").is_some() {
            events += 1;
        }
    });
    assert_eq!(events, 4);
    assert_eq!(allocated, AllocationInfo::default());
}

#[test]
fn split_messages_do_not_allocate_once_the_pool_is_warm() {
    let (bytes, expected) = stream(Role::Server);
    let mut pool = SpillPool::new(Limits::default());
    let mut decoder = Decoder::new(Role::Server);
    let mut input = bytes.clone();
    let lap = |decoder: &mut Decoder, pool: &mut SpillPool, input: &mut [u8]| -> usize {
        input.chunks_mut(1000).map(|piece| decode(decoder, pool, piece)).sum()
    };
    assert_eq!(lap(&mut decoder, &mut pool, &mut input), expected);
    input.copy_from_slice(&bytes);
    let mut messages = 0;
    let allocated = counted(|| messages = lap(&mut decoder, &mut pool, &mut input));
    assert_eq!(messages, expected);
    assert_eq!(allocated, AllocationInfo::default());
}

/// Decodes a stream whose reader copies payload directly into messages, and returns their number.
fn receive(decoder: &mut Decoder, pool: &mut SpillPool, mut stream: &[u8], buffer: &mut [u8]) -> usize {
    let mut messages = 0;
    while !stream.is_empty() {
        if let Some(room) = decoder.payload_room(5000) {
            let len = stream.read(room).expect("memory can be read");
            let event = decoder.payload_received(pool, len).expect("the stream is valid");
            messages += usize::from(matches!(event, Some(Event::Message(_))));
        } else {
            let len = stream.read(buffer).expect("memory can be read");
            messages += decode(decoder, pool, &mut buffer[..len]);
        }
    }
    messages
}

#[test]
fn messages_received_in_place_do_not_allocate_once_the_pool_is_warm() {
    for role in [Role::Server, Role::Client] {
        let (bytes, expected) = stream(role);
        let mut pool = SpillPool::new(Limits::default());
        let mut decoder = Decoder::new(role);
        let mut buffer = [0; 300];
        assert_eq!(receive(&mut decoder, &mut pool, &bytes, &mut buffer), expected);
        let mut messages = 0;
        let allocated = counted(|| messages = receive(&mut decoder, &mut pool, &bytes, &mut buffer));
        assert_eq!(messages, expected);
        assert_eq!(allocated, AllocationInfo::default(), "{role:?}");
    }
}

/// Returns the heap bytes that `work` leaves allocated, and the number that it reports.
fn left_by(work: impl FnOnce() -> usize) -> (u64, usize) {
    let mut held = 0;
    let allocated = counted(|| held = work());
    (u64::try_from(allocated.bytes_current).expect("nothing older is freed"), held)
}

#[test]
fn a_decoder_holds_the_bytes_that_it_reports() {
    let limits = Limits::default();
    let mut deflater = Deflater::new(6, WindowBits::MAX).expect("zlib compresses with 15 bits");
    let (mut plain, mut compressed) = (Vec::new(), Vec::new());
    encode_client(OpCode::Text, &text(30_000), [1, 2, 3, 4], &mut plain);
    encode_deflated(MessageKind::Text, &text(30_000), Some([1, 2, 3, 4]), &mut deflater, true, &mut compressed);
    let params = DeflateParams::default();
    for (stream, cuts) in [(&plain, [1, 3, 20, 500, 29_000]), (&compressed, [1, 3, 9, 20, 50])] {
        for cut in cuts.into_iter().chain([stream.len()]) {
            let mut pool = SpillPool::new(limits);
            let mut decoder = Decoder::with_deflate(Role::Server, &params);
            assert_eq!(decoder.held_bytes(), 0);
            let mut input = stream[..cut].to_vec();
            let (left, held) = left_by(|| {
                decode(&mut decoder, &mut pool, &mut input);
                decoder.held_bytes() + pool.retained_bytes()
            });
            assert_eq!(left, held as u64, "{cut} of {} bytes", stream.len());
            assert_eq!(decoder.held_bytes() == 0, !decoder.keeps_memory());
            // The memory of the decoder moves to the pool, which frees it.
            let moved = counted(|| {
                decoder.release(&mut pool);
                assert_eq!(decoder.held_bytes(), 0);
                pool.trim();
                assert_eq!(pool.retained_bytes(), 0);
            });
            assert_eq!(moved.bytes_current, -(left as i64), "{cut} of {} bytes", stream.len());
        }
    }
}

#[test]
fn a_pool_retains_the_bytes_that_it_reports() {
    let mut pool = SpillPool::with_retention(Limits::default(), 100_000);
    let mut deflater = Deflater::new(6, WindowBits::MAX).expect("zlib compresses with 15 bits");
    let mut stream = Vec::new();
    encode_deflated(MessageKind::Binary, &[1; 3000], Some([1, 2, 3, 4]), &mut deflater, true, &mut stream);
    let params = DeflateParams::default();
    let (left, retained) = left_by(|| {
        let decoders: Vec<Decoder> = (0..10)
            .map(|_| {
                let mut decoder = Decoder::with_deflate(Role::Server, &params);
                decode(&mut decoder, &mut pool, &mut stream.clone());
                decoder
            })
            .collect();
        for mut decoder in decoders {
            decoder.release(&mut pool);
        }
        pool.give(Vec::with_capacity(10_000));
        pool.retained_bytes()
    });
    assert_eq!(left, retained as u64);
    assert!((50_000..=104_096).contains(&retained), "{retained}");
}

#[test]
fn a_compressor_allocates_the_bytes_that_it_reports() {
    for bits in 9..=15 {
        for level in [0, 1, 6, 9] {
            let window = WindowBits::new(bits).expect("8 to 15 bits are windows");
            let mut out = Vec::with_capacity(200_000);
            let mut deflater = None;
            let (left, said) = left_by(|| {
                let deflater = deflater.insert(Deflater::new(level, window).expect("zlib compresses with 9 bits"));
                deflater.compress(&text(100_000), true, &mut out);
                deflater.heap_bytes()
            });
            assert_eq!(left, said as u64, "{bits} bits, level {level}");
        }
    }
}

#[test]
fn encoding_into_a_buffer_with_room_allocates_nothing() {
    let payload = text(16 << 10);
    let mut out = Vec::with_capacity(2 * payload.len() + 64);
    let allocated = counted(|| {
        encode_server(OpCode::Text, &payload, &mut out);
        encode_client(OpCode::Binary, &payload, [1, 2, 3, 4], &mut out);
    });
    assert_eq!(allocated, AllocationInfo::default());
}

#[test]
fn checking_a_target_and_a_host_allocates_nothing() {
    for target in ["/chat?room=1", "https://server.example.com:443/chat?room=1"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: [2001:db8::1]:9001\r\n\r\n");
        let (request, _) =
            parse_request(head.as_bytes(), &HeadLimits::default()).expect("it is good").expect("it is whole");
        let counted = counted(|| {
            assert_eq!(request.check_target(), Ok(()));
            assert!(request.host().is_some() && request.path() == "/chat" && request.query() == Some("room=1"));
        });
        assert_eq!(counted.count_total, 0, "{target}");
    }
}
