use super::*;
use crate::message::{Alphabet, RecordFormat};
use proptest::prelude::*;

/// A time of sending.
const AT: u64 = 1_763_769_601_123_456_789;

fn random(sizes: &str, alphabet: Alphabet) -> Content {
    Content::Random { sizes: sizes.parse().unwrap(), alphabet }
}

fn records(kind: MessageKind) -> Content {
    let file = b"one\ntwo, which is longer\n\nfour\n".to_vec();
    let records = Arc::new(Records::parse(file, RecordFormat::Lines, kind).unwrap());
    Content::Records { records, order: RecordOrder::RoundRobin }
}

/// Each kind of content.
fn contents() -> Vec<Content> {
    vec![
        random("20", Alphabet::Ascii),
        random("0-64", Alphabet::Ascii),
        random("0-64", Alphabet::Mixed),
        random("0-64", Alphabet::Binary),
        random("20:70,1K:25,16K:5", Alphabet::Mixed),
        Content::Json("64-3000".parse().unwrap()),
        Content::template(r#"{"id":{seq},"conn":{conn:0},"at":{time},"key":"{random:23}","n":{int:1-500}}"#).unwrap(),
        Content::template("{uuid} {time:ns}").unwrap(),
        records(MessageKind::Text),
        records(MessageKind::Binary),
        Content::Literal(Literal::text("hello").unwrap()),
        Content::Literal(Literal::binary(b"\xff\xfe").unwrap()),
    ]
}

fn sent(source: &mut Source, connection: u32, number: u32) -> (MessageKind, Vec<u8>) {
    let message = source.message(connection, number, AT);
    (message.kind(), message.payload().to_vec())
}

fn message_of(kind: MessageKind, payload: &[u8]) -> Message<'_> {
    match kind {
        MessageKind::Text => Message::text(std::str::from_utf8(payload).unwrap()),
        MessageKind::Binary => Message::binary(payload),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sends and checks messages in any order, so that a mark that remains in a block is found.
    #[test]
    fn an_echo_is_correct_and_matched_whatever_was_sent_before(
        seed: u64,
        which in 0..contents().len(),
        steps in proptest::collection::vec((0..3u32, any::<u32>()), 1..20),
    ) {
        let content = &contents()[which];
        let (mut source, mut other) = (Source::new(content, seed), Source::new(content, seed));
        let mut echoes = Vec::new();
        for (connection, number) in steps {
            let (kind, payload) = sent(&mut source, connection, number);
            prop_assert_eq!(kind, content.kind());
            prop_assert_eq!(kind, source.kind());
            prop_assert_eq!(payload.len(), source.len(connection, number));
            prop_assert!(payload.len() <= content.max_len());
            let found = source.number_of(connection, &payload);
            prop_assert_eq!(found, source.is_marked(payload.len()).then_some(number));
            echoes.push((connection, number, kind, payload));
        }
        for &(connection, number, kind, ref payload) in &echoes {
            for depth in [Depth::Shape, Depth::Mark, Depth::All] {
                let reply = message_of(kind, payload);
                // One source has sent messages, and the other one has not.
                prop_assert_eq!(source.check(connection, number, &reply, depth), Ok(()));
                prop_assert_eq!(other.check(connection, number, &reply, depth), Ok(()));
            }
            sent(&mut source, connection, number.wrapping_add(7));
        }
        for (connection, number, _, payload) in echoes.iter().rev() {
            prop_assert_eq!(payload, &sent(&mut other, *connection, *number).1);
        }
    }

    #[test]
    fn each_changed_byte_is_found(
        seed: u64, which in 0..contents().len(), connection: u32, number: u32, at: prop::sample::Index,
    ) {
        let content = &contents()[which];
        let mut source = Source::new(content, seed);
        let (kind, mut payload) = sent(&mut source, connection, number);
        prop_assume!(!payload.is_empty());
        let at = at.index(payload.len());
        // ASCII characters remain text, and are not digits.
        prop_assume!(payload[at].is_ascii() || kind == MessageKind::Binary);
        payload[at] = if payload[at] == b'!' { b'?' } else { b'!' };
        let found = source.check(connection, number, &message_of(kind, &payload), Depth::All);
        prop_assert_eq!(found, Err(Mismatch::Content));
    }

    #[test]
    fn mixed_text_is_cut_at_characters_and_filled(len in 0..200usize, seed: u64, connection: u32, number: u32) {
        let content = random(&len.to_string(), Alphabet::Mixed);
        let mut source = Source::new(&content, seed);
        // A message before it, whose mark and spaces are removed.
        sent(&mut source, connection, number.wrapping_sub(1));
        let (_, payload) = sent(&mut source, connection, number);
        prop_assert_eq!(payload.len(), len);
        let text = String::from_utf8(payload).unwrap();
        if len >= 100 {
            prop_assert!(!text.is_ascii());
        }
    }
}

#[test]
fn a_difference_has_its_kind() {
    let mut source = Source::new(&random("20", Alphabet::Ascii), 1);
    let payload = sent(&mut source, 5, 9).1;
    let text = std::str::from_utf8(&payload).unwrap();
    let kind = Err(Mismatch::Kind { expected: MessageKind::Text });
    assert_eq!(source.check(5, 9, &Message::binary(&payload), Depth::Mark), kind);
    let length = Err(Mismatch::Length { expected: 20 });
    assert_eq!(source.check(5, 9, &Message::text(&text[..19]), Depth::Mark), length);
    for (connection, number) in [(5, 8), (6, 9), (5, 9 + 4096)] {
        let reply = sent(&mut source, connection, number).1;
        let reply = message_of(MessageKind::Text, &reply);
        assert_eq!(source.check(5, 9, &reply, Depth::Mark), Err(Mismatch::Content));
        assert_eq!(source.check(5, 9, &reply, Depth::All), Err(Mismatch::Content));
        // Its mark has been checked before.
        assert_eq!(source.check(5, 9, &reply, Depth::Shape), Ok(()));
    }
    // Only a check of all bytes compares what is behind the mark.
    let damaged = format!("{}!", &text[..19]);
    assert_ne!(damaged, text, "the last character is another one with this seed");
    assert_eq!(source.check(5, 9, &Message::text(&damaged), Depth::Mark), Ok(()));
    assert_eq!(source.check(5, 9, &Message::text(&damaged), Depth::All), Err(Mismatch::Content));
}

#[test]
fn a_seed_gives_the_same_messages_and_another_one_does_not() {
    for content in contents() {
        let all = |seed| {
            let mut source = Source::new(&content, seed);
            (0..100).map(|number| sent(&mut source, 3, number).1).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        let given = matches!(content, Content::Literal(_) | Content::Records { .. });
        assert_eq!(all(1) == all(2), given, "{content:?}");
    }
}

#[test]
fn no_two_of_many_random_messages_are_equal() {
    for alphabet in [Alphabet::Ascii, Alphabet::Mixed, Alphabet::Binary] {
        let mut source = Source::new(&random("20", alphabet), 2);
        let mut messages = std::collections::HashSet::new();
        for connection in 0..4 {
            for number in 0..10_000 {
                assert!(messages.insert(sent(&mut source, connection, number).1));
            }
        }
    }
}

#[test]
fn short_messages_have_no_mark_and_differ_by_position() {
    let mut source = Source::new(&random("7", Alphabet::Binary), 3);
    assert!(!source.is_marked(7) && source.is_marked(8));
    for number in 0..10_000 {
        let this = sent(&mut source, 5, number).1;
        assert_eq!(source.number_of(5, &this), None);
        assert_ne!(this, sent(&mut source, 5, number + 1).1);
        assert_ne!(this, sent(&mut source, 6, number).1);
    }
}

#[test]
fn the_sizes_are_those_of_the_content() {
    let mut source = Source::new(&random("20:70,1K:25,16K:5", Alphabet::Ascii), 5);
    let mut counts = [0u32; 3];
    for connection in 0..10 {
        for number in 0..1000 {
            let len = sent(&mut source, connection, number).1.len();
            counts[[20, 1024, 16_384].iter().position(|size| *size == len).unwrap()] += 1;
        }
    }
    // Three standard deviations of the largest share are 138.
    for (count, expected) in counts.iter().zip([7_000, 2_500, 500]) {
        assert!(count.abs_diff(expected) < 138, "{counts:?}");
    }
}

#[test]
fn what_the_user_gives_is_sent_unchanged_and_matched_in_order() {
    let mut source = Source::new(&records(MessageKind::Text), 7);
    let lines: Vec<_> = (1..6).map(|number| String::from_utf8(sent(&mut source, 3, number).1).unwrap()).collect();
    assert_eq!(lines, ["one", "two, which is longer", "", "four", "one"]);
    assert!(!source.is_marked(20) && source.number_of(3, lines[1].as_bytes()).is_none());
    assert_eq!(source.check(3, 1, &Message::text("ona"), Depth::All), Err(Mismatch::Content));
    assert_eq!(source.check(3, 1, &Message::text("ona"), Depth::Mark), Ok(()));
    assert_eq!(source.check(3, 1, &Message::text("four"), Depth::Mark), Err(Mismatch::Length { expected: 3 }));

    let mut source = Source::new(&Content::Literal(Literal::binary(b"\xff\xfe").unwrap()), 8);
    assert_eq!(sent(&mut source, 0, 0), (MessageKind::Binary, b"\xff\xfe".to_vec()));
    assert!(!source.is_marked(2));
    assert_eq!(source.check(0, 5, &Message::binary(b"\xff\xff"), Depth::All), Err(Mismatch::Content));
}

#[test]
fn a_time_in_an_echo_may_be_any_number() {
    let mut source = Source::new(&Content::template("{seq:0} {time}").unwrap(), 9);
    let payload = String::from_utf8(sent(&mut source, 0, 12).1).unwrap();
    assert_eq!(payload, "0000000012 1763769601123");
    assert_eq!(source.check(0, 12, &Message::text("0000000012 1111111111111"), Depth::All), Ok(()));
    assert_eq!(source.check(0, 12, &Message::text("0000000012 1111111111x11"), Depth::All), Err(Mismatch::Content));
    assert_eq!(source.check(0, 12, &Message::text("0000000013 1763769601123"), Depth::Mark), Err(Mismatch::Content));
    assert_eq!(source.number_of(0, b"0000000013 1763769601123"), Some(13));
}
