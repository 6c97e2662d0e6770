//! JSON that compresses as feeds do: keys and a few names that repeat, and numbers that drift.
//!
//! A message is an object with its mark, as many events as fit, and a note that fills the rest:
//!
//! ```json
//! {"id":"AAAAAAQ5","events":[{"type":"trade","symbol":"BTC-USD",…},{…}],"note":"order book is…"}
//! ```
//!
//! The events are generated once. Successive messages of a connection have successive events, so a
//! text is repeated only after all 4096 events, which are more than the window of a compressor
//! (RFC 7692 section 7.1.2.1: 32 KiB at most).
//!
//! The compression ratios with permessage-deflate at level 6 (`messages_compress_as_feeds_do`):
//!
//! | size | without takeover | with takeover |
//! |---|---|---|
//! | 100 B | 1.11 | 3.33 |
//! | 300 B | 1.64 | 4.88 |
//! | 1 KiB | 3.37 | 5.90 |
//! | 16 KiB | 7.37 | 8.06 |

use super::compose::Sink;
use super::hash::Stream;
use super::mark;
use std::fmt::Write;

/// The minimum size of a message.
pub(super) const MIN_LEN: usize = 64;

/// The number of events: a power of two, so that each odd distance visits all of them.
const EVENTS: usize = 4096;

/// The distance between the first events of successive connections.
const CONNECTION_STEP: u32 = 0x5a7;

const BEFORE_MARK: &str = r#"{"id":""#;
const BEFORE_EVENTS: &str = r#"","events":["#;
const BEFORE_NOTE: &str = r#"],"note":""#;
const END: &str = r#""}"#;

/// The bytes around the events and the note, with the mark.
const FRAME: usize = BEFORE_MARK.len() + mark::LEN + BEFORE_EVENTS.len() + BEFORE_NOTE.len() + END.len();

/// The position of the mark in a message.
pub(super) const MARK_AT: usize = BEFORE_MARK.len();

/// The number of positions at which notes begin.
const NOTE_PLACES: usize = 1 << 16;

/// The events and notes of messages.
pub(super) struct Json {
    /// The events, each with a comma behind it.
    events: String,
    /// The start of each event, and the end of the last one.
    starts: Vec<u32>,
    notes: String,
    /// The distance between the first events of successive messages of a connection.
    step: u32,
}

impl Json {
    /// Messages of at most `max_len` bytes.
    pub(super) fn new(max_len: usize, seed: u64) -> Self {
        let mut random = Stream::new(seed);
        let (events, starts) = events(&mut random);
        let longest = starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or_default();
        let mean = events.len() / EVENTS;
        let notes = notes(NOTE_PLACES + MIN_LEN + longest, &mut random);
        // Odd, and at least the number of events in a message, so that messages share no event.
        let step = ((max_len / mean) as u32 + 1) | 1;
        Self { events, starts, notes, step }
    }

    /// Passes the parts of a message of `len` bytes to `sink`.
    pub(super) fn compose(
        &self,
        mark: &[u8; mark::LEN],
        (connection, number): (u32, u32),
        hash: u64,
        len: usize,
        sink: &mut impl Sink,
    ) {
        debug_assert!(len >= MIN_LEN, "the sizes of JSON messages are checked");
        let mut left = len - FRAME;
        sink.put(BEFORE_MARK.as_bytes());
        sink.put(mark);
        sink.put(BEFORE_EVENTS.as_bytes());
        let place = number.wrapping_mul(self.step).wrapping_add(connection.wrapping_mul(CONNECTION_STEP));
        left -= self.put_events(place as usize % EVENTS, left, sink);
        sink.put(BEFORE_NOTE.as_bytes());
        let start = hash as usize % NOTE_PLACES;
        sink.put(&self.notes.as_bytes()[start..start + left]);
        sink.put(END.as_bytes());
    }

    /// Passes as many events as fit in `room` to `sink`. Returns their length.
    fn put_events(&self, mut first: usize, room: usize, sink: &mut impl Sink) -> usize {
        let mut used = 0;
        loop {
            // The last event is written without its comma.
            let start = self.starts[first];
            let fits = |end: &u32| used + (*end - start) as usize <= room + 1;
            let end = first + self.starts[first + 1..].partition_point(fits);
            let len = (self.starts[end] - start) as usize;
            let text = &self.events.as_bytes()[start as usize..start as usize + len];
            used += len;
            let continues = end == EVENTS && used + (self.starts[1] as usize) <= room + 1;
            if continues {
                sink.put(text);
                first = 0;
                continue;
            }
            sink.put(text.strip_suffix(b",").unwrap_or(text));
            return used.saturating_sub(1);
        }
    }
}

/// A symbol of the feed, and its drifting price in cents.
struct Symbol {
    name: &'static str,
    price: u64,
}

/// The events of a feed of trades, and their positions.
fn events(random: &mut Stream) -> (String, Vec<u32>) {
    let mut symbols = [
        ("BTC-USD", 6_421_050),
        ("ETH-USD", 312_244),
        ("SOL-USD", 14_230),
        ("EUR-USD", 10_841),
        ("GBP-USD", 12_710),
        ("XAU-USD", 265_480),
        ("AAPL", 22_514),
        ("MSFT", 41_866),
    ]
    .map(|(name, price)| Symbol { name, price });
    let (mut time, mut trade) = (1_763_769_601_123u64, 48_210_377u64);
    let (mut text, mut starts) = (String::new(), Vec::with_capacity(EVENTS + 1));
    for _ in 0..EVENTS {
        starts.push(text.len() as u32);
        // Half of the trades are of the first two symbols.
        let at = if random.below(2) == 0 { random.below(2) } else { random.below(symbols.len()) };
        let symbol = &mut symbols[at];
        // At most 1/2000 up or down.
        let range = (symbol.price / 2000).max(1);
        symbol.price = symbol.price - range + random.below(2 * range as usize + 1) as u64;
        time += random.below(40) as u64;
        trade += 1 + random.below(3) as u64;
        let side = ["buy", "sell"][random.below(2)];
        let quantity = 1 + random.below(500);
        write!(
            text,
            r#"{{"type":"trade","symbol":"{}","price":{}.{:02},"quantity":{quantity},"side":"{side}","trade":{trade},"time":{time}}},"#,
            symbol.name,
            symbol.price / 100,
            symbol.price % 100,
        )
        .expect("text is written to a string without errors");
    }
    starts.push(text.len() as u32);
    (text, starts)
}

/// Text of at least `len` bytes, as people write it to each other.
fn notes(len: usize, random: &mut Stream) -> String {
    const WORDS: [&str; 48] = [
        "the",
        "order",
        "book",
        "is",
        "thin",
        "today",
        "and",
        "spread",
        "has",
        "widened",
        "again",
        "after",
        "open",
        "we",
        "see",
        "more",
        "volume",
        "on",
        "this",
        "side",
        "of",
        "market",
        "than",
        "yesterday",
        "please",
        "check",
        "limit",
        "before",
        "you",
        "send",
        "next",
        "one",
        "thanks",
        "ok",
        "done",
        "not",
        "yet",
        "will",
        "do",
        "filled",
        "partly",
        "at",
        "a",
        "better",
        "price",
        "cancel",
        "rest",
        "later",
    ];
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        text.push_str(random.choose(&WORDS));
        text.push_str(if random.below(9) == 0 { ", " } else { " " });
    }
    text
}

#[cfg(test)]
mod tests;
