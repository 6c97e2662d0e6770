use super::*;
use proptest::prelude::*;

fn parse(bytes: &[u8], format: RecordFormat, kind: MessageKind) -> Result<Vec<Vec<u8>>, RecordsProblem> {
    let records = Records::parse(bytes.to_vec(), format, kind)?;
    assert_eq!(records.kind(), kind);
    let all: Vec<_> =
        (0..records.len()).map(|index| records.payload(RecordOrder::RoundRobin, 0, index as u32, 0).to_vec()).collect();
    assert_eq!(records.max_len(), all.iter().map(Vec::len).max().unwrap());
    Ok(all)
}

fn prefixed_file(records: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for record in records {
        file.extend_from_slice(&(record.len() as u32).to_be_bytes());
        file.extend_from_slice(record);
    }
    file
}

#[test]
fn lines_are_messages_without_their_ends() {
    let lines = |text: &str| parse(text.as_bytes(), RecordFormat::Lines, MessageKind::Text);
    let expected = |lines: &[&str]| Ok(lines.iter().map(|line| line.as_bytes().to_vec()).collect());
    assert_eq!(lines("one\ntwo\n"), expected(&["one", "two"]));
    assert_eq!(lines("one\r\n\r\ngrüße"), expected(&["one", "", "grüße"]));
    assert_eq!(lines("\n"), expected(&[""]));
    assert_eq!(lines("a\rb\r\r\nc\r"), expected(&["a\rb\r", "c\r"]));
}

#[test]
fn an_error_names_the_place_and_the_remedy() {
    let text = MessageKind::Text;
    let mut large = 67_108_865u32.to_be_bytes().to_vec();
    large.resize(4 + (MAX_SIZE + 1), b' ');
    for (bytes, format, says) in [
        (&b""[..], RecordFormat::Lines, "the file is empty: give one with at least one message"),
        (b"", RecordFormat::Prefixed, "the file is empty: give one with at least one message"),
        (b"good\nb\xffd\n", RecordFormat::Lines, "line 2 is not UTF-8: correct it, or send binary messages (--binary)"),
        (
            // Both halves of a character: UTF-8 together only.
            b"\0\0\0\x01\xc3\0\0\0\x01\xa4",
            RecordFormat::Prefixed,
            "the record at offset 0 is not UTF-8: correct it, or send binary messages (--binary)",
        ),
        (
            b"\0\0\0\x01a\0\0",
            RecordFormat::Prefixed,
            "2 bytes at offset 5 are too few for a length of 4 bytes: complete or remove them",
        ),
        (
            b"\0\0\0\x01a\0\0\0\x05abc",
            RecordFormat::Prefixed,
            "the record at offset 5 has a length of 5 B (big endian), and the file ends 3 B behind it: complete the \
             file, or read it by lines",
        ),
        (&large, RecordFormat::Prefixed, "the record at offset 0 has 67108865 B: give messages of at most 64 MiB"),
        (&large[3..], RecordFormat::Lines, "line 1 has 67108866 B: give messages of at most 64 MiB"),
    ] {
        assert_eq!(parse(bytes, format, text).unwrap_err().to_string(), says);
    }
    assert_eq!(parse(b"b\xffd\n", RecordFormat::Lines, MessageKind::Binary), Ok(vec![b"b\xffd".to_vec()]));
}

#[test]
fn an_error_names_the_file() {
    let path = Path::new("/nonexistent/file");
    let error = Records::read(path, RecordFormat::Lines, MessageKind::Text).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/file: No such file"), "{error}");
    let path = Path::new("/dev/null");
    let error = Records::read(path, RecordFormat::Lines, MessageKind::Text).unwrap_err().to_string();
    assert_eq!(error, "/dev/null: the file is empty: give one with at least one message");
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let records = Records::read(path, RecordFormat::Lines, MessageKind::Text).unwrap();
    assert_eq!(records.message(RecordOrder::RoundRobin, 0, 0, 0).as_text(), Some("[package]"));
}

#[test]
fn round_robin_begins_at_the_number_of_the_connection() {
    let records = Records::parse(b"a\nb\nc\n".to_vec(), RecordFormat::Lines, MessageKind::Text).unwrap();
    let order = |connection| {
        let of = |number| records.payload(RecordOrder::RoundRobin, connection, number, 0)[0];
        (0..5).map(of).collect::<Vec<u8>>()
    };
    assert_eq!(order(0), b"abcab");
    assert_eq!(order(1), b"bcabc");
    // Where the sum of connection and number exceeds 32 bits, the order continues.
    assert_eq!(order(u32::MAX - 1), b"cabca");
}

#[test]
fn random_order_draws_all_records_equally_often() {
    let file: Vec<u8> = (b'a'..=b'j').flat_map(|letter| [letter, b'\n']).collect();
    let records = Records::parse(file, RecordFormat::Lines, MessageKind::Text).unwrap();
    let mut counts = [0u32; 10];
    for number in 0..100_000 {
        let hash = hash::of_message(5, 1, number);
        let letter = records.payload(RecordOrder::Random, 1, number, hash)[0];
        counts[usize::from(letter - b'a')] += 1;
    }
    assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
}

proptest! {
    #[test]
    fn prefixed_records_are_read_as_written(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..20),
    ) {
        let read = parse(&prefixed_file(&records), RecordFormat::Prefixed, MessageKind::Binary);
        prop_assert_eq!(read, Ok(records));
    }

    #[test]
    fn lines_are_read_as_written(lines in proptest::collection::vec("[^\r\n]{0,40}", 1..20), crlf: bool) {
        let end = if crlf { "\r\n" } else { "\n" };
        let file: String = lines.iter().map(|line| format!("{line}{end}")).collect();
        let read = parse(file.as_bytes(), RecordFormat::Lines, MessageKind::Text);
        prop_assert_eq!(read, Ok(lines.into_iter().map(String::into_bytes).collect()));
    }
}
