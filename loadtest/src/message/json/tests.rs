use super::*;
use crate::message::{Content, Source};
use ringway_codec::{Deflater, WindowBits};
use std::collections::HashSet;

/// The connections of the tests.
const CONNECTIONS: [u32; 2] = [0, 1000];

fn source(sizes: &str) -> Source {
    Source::new(&Content::Json(sizes.parse().unwrap()), 42)
}

fn text(source: &mut Source, connection: u32, number: u32) -> String {
    source.message(connection, number, 0).as_text().unwrap().to_owned()
}

#[test]
fn each_size_is_valid_json_with_a_mark() {
    let mut source = source("64-400");
    let mut lengths = HashSet::new();
    for number in 0..5_000 {
        let text = text(&mut source, 3, number);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(value["id"].as_str().unwrap().len(), mark::LEN);
        let events = value["events"].as_array().unwrap();
        // A note is shorter than an event.
        assert!(!events.is_empty() || text.len() < 200, "{text}");
        for event in events {
            assert!(event["price"].as_f64().unwrap() > 0.0 && event["symbol"].is_string());
        }
        assert!(value["note"].as_str().unwrap().len() < 150, "{text}");
        lengths.insert(text.len());
    }
    assert_eq!(lengths.len(), 400 - 64 + 1);
}

#[test]
fn messages_longer_than_all_events_repeat_them() {
    let mut source = source("2M");
    for number in 0..4 {
        let text = text(&mut source, 1, number);
        assert_eq!(text.len(), 2 << 20);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["events"].as_array().unwrap().len() > 2 * EVENTS);
    }
}

#[test]
fn successive_messages_have_successive_events() {
    let mut source = source("300");
    let mut times = Vec::new();
    for number in 0..100 {
        let value: serde_json::Value = serde_json::from_str(&text(&mut source, 0, number)).unwrap();
        times.extend(value["events"].as_array().unwrap().iter().map(|event| event["trade"].as_u64().unwrap()));
    }
    assert!(times.len() >= 100 && times.is_sorted_by(|one, next| one < next), "{times:?}");
}

/// The length of messages divided by their compressed length, at level 6.
fn ratio(sizes: &str, messages: u32, takeover: bool) -> f64 {
    let mut source = source(sizes);
    let (mut plain, mut compressed) = (0, 0);
    for connection in CONNECTIONS {
        let mut deflater = Deflater::new(6, WindowBits::MAX).unwrap();
        let mut out = Vec::new();
        for number in 0..messages {
            let message = source.message(connection, number, 0);
            plain += message.payload().len();
            deflater.compress(message.payload(), takeover, &mut out);
        }
        compressed += out.len();
    }
    plain as f64 / compressed as f64
}

/// The ratios in the documentation of the file, within 5 %.
#[test]
fn messages_compress_as_feeds_do() {
    for (sizes, messages, alone, with_takeover) in
        [("100", 1000, 1.11, 3.33), ("300", 1000, 1.64, 4.88), ("1K", 500, 3.37, 5.90), ("16K", 50, 7.37, 8.06)]
    {
        let found = (ratio(sizes, messages, false), ratio(sizes, messages, true));
        println!("{sizes}: {:.2} alone, {:.2} with takeover", found.0, found.1);
        let is_near = |found: f64, stated: f64| (found / stated - 1.0).abs() < 0.05;
        assert!(is_near(found.0, alone) && is_near(found.1, with_takeover), "{sizes}: {found:?}");
    }
}
