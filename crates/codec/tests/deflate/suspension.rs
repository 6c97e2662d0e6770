//! Inflating with an allowance: the events are those of a decoder without one, whatever the
//! allowances.

use proptest::collection::vec;
use proptest::prelude::*;
use ringway_codec::{
    Decoder, DeflateParams, Deflater, Event, Limits, MessageKind, OpCode, Role, SpillPool, encode_deflated,
};
use ringway_testkit::decoder::{self, Outcome};
use ringway_testkit::{Frame, KEY};

use crate::conversation::{ascending, conversation, payload, write};
use crate::{agreed, bits, decode_server, deflated};

/// The maximum by which a step may exceed the allowance, in bytes.
const OVERSHOOT: usize = 1023;

/// The events of a server's decoder for `stream`, split at `cuts` (ascending), where each call has
/// the next of `allowances`.
fn decode_in_steps(
    params: &DeflateParams,
    limits: Limits,
    stream: &[u8],
    cuts: &[usize],
    allowances: &[usize],
) -> Outcome {
    decoder::decode_in_steps(Role::Server, Some(params), limits, stream, cuts, allowances)
}

/// The message of an event.
fn message(event: Event<'_>) -> (MessageKind, Vec<u8>) {
    match event {
        Event::Message(message) => (message.kind(), message.payload().to_vec()),
        event => panic!("{event:?} is not a message"),
    }
}

/// A decoder, and a compressed message for it.
fn bomb(len: usize) -> (Decoder, Vec<u8>) {
    let stream = Frame::binary(deflated(&vec![b'x'; len])).rsv1().bytes();
    (Decoder::with_deflate(Role::Server, &agreed(false, 15)), stream)
}

#[test]
fn each_call_inflates_as_much_as_it_is_allowed_and_less_than_1_kib_more() {
    const LEN: usize = 3 << 20;
    for allowance in [1, 1000, 4096, 100_000] {
        let (mut decoder, mut input) = bomb(LEN);
        let mut pool = SpillPool::new(Limits::default());
        let (mut at, mut calls) = (0, 0);
        loop {
            pool.set_inflate_allowance(allowance);
            calls += 1;
            match decoder.next(&mut pool, &mut input, &mut at).unwrap() {
                Some(Event::Message(message)) => break assert_eq!(message.payload(), vec![b'x'; LEN]),
                Some(event) => panic!("{event:?} was not sent"),
                None => assert!(decoder.is_suspended() && pool.inflate_allowance() == 0),
            }
        }
        assert!(!decoder.is_suspended());
        assert!(calls >= LEN / (allowance + OVERSHOOT), "{calls} calls of {allowance} bytes");
        assert!(calls <= LEN / allowance + 1, "{calls} calls of {allowance} bytes");
    }
}

#[test]
fn a_suspended_decoder_whose_input_is_consumed_continues_without_input() {
    const LEN: usize = 200_000;
    let mut pool = SpillPool::new(Limits::default());
    let mut decoder = Decoder::with_deflate(Role::Server, &agreed(true, 15));
    let data = deflated(&vec![b'x'; LEN]);
    let (mut messages, mut drained) = (0, 0);
    // Fragments of one byte, each of which inflates to about 1 KiB.
    for (n, byte) in data.iter().enumerate() {
        let opcode = if n == 0 { OpCode::Binary } else { OpCode::Continuation };
        let bits = if n == 0 { 0x40 } else { 0 };
        let mut input = Frame::new(opcode as u8, [*byte]).fin(n + 1 == data.len()).bits(bits).bytes();
        let mut at = 0;
        loop {
            pool.set_inflate_allowance(1);
            if let Some(event) = decoder.next(&mut pool, &mut input, &mut at).unwrap() {
                assert_eq!(message(event), (MessageKind::Binary, vec![b'x'; LEN]));
                messages += 1;
            }
            if !decoder.is_suspended() {
                break;
            }
            if at == input.len() {
                drained += 1;
                input.clear();
                at = 0;
            }
        }
    }
    assert_eq!(messages, 1);
    assert!(drained > 100, "{drained}");
}

#[test]
fn without_an_allowance_uncompressed_messages_and_control_frames_still_pass() {
    let mut pool = SpillPool::new(Limits::default());
    pool.set_inflate_allowance(0);
    let mut decoder = Decoder::with_deflate(Role::Server, &agreed(true, 15));
    let mut input = [
        Frame::text(b"plain").bytes(),
        Frame::ping(b"?").bytes(),
        Frame::text(b"in ").more().bytes(),
        Frame::continuation(b"fragments").bytes(),
        Frame::text(deflated(b"compressed")).rsv1().bytes(),
    ]
    .concat();
    let mut at = 0;
    for _ in 0..3 {
        assert!(decoder.next(&mut pool, &mut input, &mut at).unwrap().is_some());
        assert!(!decoder.is_suspended());
    }
    for _ in 0..3 {
        assert!(decoder.next(&mut pool, &mut input, &mut at).unwrap().is_none());
        assert!(decoder.is_suspended() && !decoder.is_between_messages());
        assert_eq!(at, input.len() - deflated(b"compressed").len(), "nothing of the payload is consumed");
    }
    pool.set_inflate_allowance(100);
    let event = decoder.next(&mut pool, &mut input, &mut at).unwrap().map(message);
    assert_eq!(event, Some((MessageKind::Text, b"compressed".to_vec())));
    // A compressed byte counts as eight.
    assert_eq!(pool.inflate_allowance(), 100usize.saturating_sub(8 * deflated(b"compressed").len()));
}

#[test]
fn blocks_without_content_use_the_allowance() {
    const BLOCKS: usize = 20_000;
    let payload = [0, 0, 0, 0xff, 0xff].repeat(BLOCKS);
    let mut input = Frame::binary(&payload[..payload.len() - 4]).rsv1().bytes();
    let mut decoder = Decoder::with_deflate(Role::Server, &agreed(false, 15));
    let mut pool = SpillPool::new(Limits::default());
    let (mut at, mut calls) = (0, 0);
    loop {
        pool.set_inflate_allowance(4096);
        calls += 1;
        match decoder.next(&mut pool, &mut input, &mut at).unwrap().map(message) {
            Some(event) => break assert_eq!(event, (MessageKind::Binary, Vec::new())),
            None => assert!(decoder.is_suspended()),
        }
    }
    assert!(calls >= payload.len() * 8 / (4096 + OVERSHOOT), "{calls} calls for {} bytes", payload.len());
}

#[test]
fn a_suspended_decoder_can_be_released() {
    for behind in [0, 100] {
        let (mut decoder, mut input) = bomb(1 << 20);
        input.extend(vec![0xff; behind]);
        let mut pool = SpillPool::new(Limits::default());
        pool.set_inflate_allowance(4096);
        let mut at = 0;
        assert!(decoder.next(&mut pool, &mut input, &mut at).unwrap().is_none());
        decoder.release(&mut pool);
        assert!(!decoder.is_suspended() && decoder.is_between_messages() && !decoder.keeps_memory());
        pool.set_inflate_allowance(usize::MAX);
        // The pool's inflater has no state of the message.
        let (mut decoder, mut input) = bomb(1000);
        assert!(decoder.next(&mut pool, &mut input, &mut 0).unwrap().is_some());
        assert_eq!(pool.inflate_allowance(), usize::MAX, "an unlimited allowance is not counted");
    }
}

#[test]
fn a_limit_is_exceeded_at_the_same_byte_with_and_without_an_allowance() {
    let text = [&b"a".repeat(3000)[..], b"\xf4\x90", &b"a".repeat(3000)].concat();
    let stream = Frame::text(deflated(&text)).rsv1().bytes();
    for max_message in [2999, 3000, 3001, 3002, 3003, 7000] {
        let limits = Limits { max_message, ..Limits::default() };
        let params = agreed(true, 15);
        let whole = decode_server(&params, limits, &stream, &[]);
        assert!(whole.1.is_some());
        for allowances in [&[1][..], &[1500], &[2999, 0], &[1977, 1], &[1978]] {
            assert_eq!(
                decode_in_steps(&params, limits, &stream, &[], allowances),
                whole,
                "{max_message} {allowances:?}"
            );
        }
    }
}

fn allowances() -> impl Strategy<Value = Vec<usize>> {
    let allowance = prop_oneof![
        2 => 0..3usize,
        2 => 0..2000usize,
        2 => 0..40_000usize,
        1 => Just(usize::MAX),
    ];
    (vec(allowance, 0..6), 1..20_000usize).prop_map(|(mut allowances, last)| {
        allowances.push(last);
        allowances
    })
}

proptest! {
    #[test]
    fn the_events_do_not_depend_on_the_allowances(
        (takeover, window, level, specs) in conversation(70_000),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        allowances in allowances(),
    ) {
        let (stream, expected) = write(takeover, window, level, &specs);
        let cuts = ascending(&cuts, stream.len());
        let outcome = decode_in_steps(&agreed(takeover, window), Limits::default(), &stream, &cuts, &allowances);
        prop_assert_eq!(outcome, (expected, None));
    }

    #[test]
    fn the_events_and_the_error_of_wrong_bytes_do_not_depend_on_the_allowances(
        (takeover, window, level, specs) in conversation(1500),
        max_message in prop_oneof![0..2000usize, Just(1 << 20)],
        wrong in vec((any::<prop::sample::Index>(), 1u8..), 0..3),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        allowances in allowances(),
    ) {
        let (mut stream, _) = write(takeover, window, level, &specs);
        for (place, change) in wrong {
            let place = place.index(stream.len());
            stream[place] ^= change;
        }
        let limits = Limits { max_message, fragment_cost: 3 };
        let params = agreed(takeover, window);
        let whole = decode_server(&params, limits, &stream, &[]);
        let cuts = ascending(&cuts, stream.len());
        prop_assert_eq!(&decode_in_steps(&params, limits, &stream, &cuts, &allowances), &whole);
        prop_assert_eq!(&decode_in_steps(&params, limits, &stream, &[], &allowances), &whole, "uncut");
        let every: Vec<usize> = (1..stream.len()).collect();
        prop_assert_eq!(&decode_in_steps(&params, limits, &stream, &every, &allowances), &whole, "byte by byte");
    }

    #[test]
    fn messages_that_inflate_a_hundredfold_do_not_depend_on_the_allowances(
        takeover in any::<bool>(),
        lengths in vec(0..100_000usize, 1..4),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        allowances in allowances(),
        max_message in prop_oneof![Just(1 << 20), 0..100_000usize],
    ) {
        let mut deflater = Deflater::new(6, bits(15)).unwrap();
        let mut stream = Vec::new();
        for (n, &len) in lengths.iter().enumerate() {
            let text: Vec<u8> = payload(50, n as u64, false).into_iter().cycle().take(len).collect();
            encode_deflated(MessageKind::Text, &text, Some(KEY), &mut deflater, takeover, &mut stream);
        }
        let limits = Limits { max_message, ..Limits::default() };
        let params = agreed(takeover, 15);
        let whole = decode_server(&params, limits, &stream, &[]);
        let cuts = ascending(&cuts, stream.len());
        prop_assert_eq!(&decode_in_steps(&params, limits, &stream, &cuts, &allowances), &whole);
    }
}
