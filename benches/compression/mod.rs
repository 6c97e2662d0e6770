//! permessage-deflate: Ringway's implementation and those of the other codecs here that have one
//! (tungstenite, fastwebsockets and tokio-websockets do not). The benches measure the whole path,
//! from messages to frames in a stream in memory and back. All use zlib-rs, at the same level and
//! with windows of 15 bits.

mod ringway;
mod sockudo_ws;
mod yawc;

use crate::lap::Lap;
use crate::sink::Sink;
use bytes::Bytes;
use ringway_benches::Candidate;
use ringway_codec::{
    Decoder, DeflateParams, Deflater, Event, Limits, MessageKind, OpCode, Role, SpillPool, WindowBits,
};
use ringway_codec::{encode_deflated, encode_server};
use std::cell::RefCell;
use std::fmt;
use std::hint::black_box;
use std::rc::Rc;

/// The subject of a case: text messages and compression parameters.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) matter: Matter,
    /// Whether context takeover is used.
    pub(crate) takeover: bool,
    /// zlib's level, 1 to 9.
    pub(crate) level: u8,
}

#[derive(Clone, Copy)]
pub(crate) enum Matter {
    /// JSON of about 300 bytes, with the same keys and different values in each message.
    Json,
    /// 16 KiB of words.
    Text,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matter = match self.matter {
            Matter::Json => "300 B JSON",
            Matter::Text => "16 KiB text",
        };
        write!(f, "{matter}, {}", if self.takeover { "takeover" } else { "no takeover" })
    }
}

impl Subject {
    /// The messages of a turn: more than the window holds, so that no lap can be compressed as a
    /// repetition of the one before it.
    pub(crate) fn messages(&self) -> Vec<Bytes> {
        let count = match self.matter {
            Matter::Json => 256,
            Matter::Text => 8,
        };
        (0..count).map(|number| Bytes::from(self.matter.message(number))).collect()
    }

    fn params(&self) -> DeflateParams {
        DeflateParams {
            server_no_context_takeover: !self.takeover,
            client_no_context_takeover: !self.takeover,
            ..DeflateParams::default()
        }
    }

    /// The extension's header with the same parameters.
    fn header(&self) -> String {
        self.params().to_string()
    }

    /// The compressed messages, as a client sends them to a server.
    fn incoming(&self) -> Lap {
        let mut deflater = Deflater::new(self.level, WindowBits::MAX).expect("zlib has this window");
        let mut out = Vec::new();
        for (number, message) in self.messages().iter().enumerate() {
            let key = Some((number as u32).wrapping_mul(0x9e37_79b9).to_ne_bytes());
            encode_deflated(MessageKind::Text, message, key, &mut deflater, self.takeover, &mut out);
        }
        // The first message of a lap is compressed without a context, so it may follow the last
        // message of the previous lap.
        Lap::of(&out, 0)
    }
}

impl Matter {
    fn message(self, number: u32) -> String {
        let mut random = Random(number + 1);
        match self {
            Self::Json => format!(
                "{{\"type\":\"trade\",\"id\":{},\"symbol\":\"{}\",\"price\":{}.{:02},\"size\":{},\"side\":\"{}\",\
                 \"time\":\"2026-03-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\"venue\":\"{}\",\"flags\":[\"{}\",\"{}\"],\
                 \"best\":{{\"bid\":{}.{:02},\"ask\":{}.{:02},\"bidSize\":{},\"askSize\":{}}},\
                 \"account\":{{\"id\":\"{:08x}\",\"tier\":{}}},\"sequence\":{}}}",
                random.below(1_000_000_000),
                random.word().to_uppercase(),
                random.below(1000),
                random.below(100),
                random.below(10_000),
                ["buy", "sell"][random.below(2) as usize],
                1 + random.below(28),
                random.below(24),
                random.below(60),
                random.below(60),
                random.below(1000),
                random.word(),
                random.word(),
                random.word(),
                random.below(1000),
                random.below(100),
                random.below(1000),
                random.below(100),
                random.below(10_000),
                random.below(10_000),
                random.below(u32::MAX),
                random.below(5),
                number,
            ),
            Self::Text => {
                let mut text = String::new();
                while text.len() < 16 << 10 {
                    text.push_str(random.word());
                    text.push_str(if random.below(9) == 0 { ". " } else { " " });
                }
                text.truncate(16 << 10);
                text
            }
        }
    }
}

/// A pseudo-random generator with the same messages in each run.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let word = ((self.0 >> ((self.0 >> 28) + 4)) ^ self.0).wrapping_mul(277_803_737);
        ((word >> 22) ^ word) % limit
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 64] = [
            "about", "after", "again", "bridge", "carry", "city", "cold", "come", "country", "early", "earth", "every",
            "father", "field", "first", "follow", "forest", "found", "garden", "great", "harbour", "house", "island",
            "kept", "large", "learn", "letter", "light", "little", "morning", "mother", "mountain", "never", "night",
            "north", "often", "open", "other", "paper", "people", "place", "plain", "quiet", "rain", "read", "river",
            "road", "school", "seldom", "silver", "small", "snow", "stone", "story", "street", "summer", "table",
            "their", "thing", "water", "where", "window", "winter", "world",
        ];
        WORDS[self.below(64) as usize]
    }
}

/// A server that sends compressed messages.
trait CompressBench: Sized {
    const NAME: &'static str;

    fn new(subject: Subject, sink: Sink) -> Self;

    /// Sends the messages and flushes all of their bytes.
    fn send(&mut self, messages: &[Bytes]);
}

/// A server that receives compressed messages.
trait DecompressBench: Sized {
    const NAME: &'static str;

    fn new(subject: Subject, stream: Lap) -> Self;

    /// Receives this many messages and passes each payload to `see`.
    fn receive(&mut self, messages: usize, see: impl FnMut(&[u8]));
}

/// All compressors, checked, Ringway's first: a turn sends each of the subject's messages once.
pub(crate) fn deflaters(subject: Subject) -> Vec<Candidate> {
    vec![
        deflater::<ringway::Deflating>(subject),
        deflater::<sockudo_ws::Deflating>(subject),
        deflater::<yawc::Deflating>(subject),
    ]
}

/// All decompressors, checked, Ringway's first: a turn receives each of the subject's messages
/// once.
pub(crate) fn inflaters(subject: Subject) -> Vec<Candidate> {
    vec![
        inflater::<ringway::Inflating>(subject),
        inflater::<sockudo_ws::Inflating>(subject),
        inflater::<yawc::Inflating>(subject),
    ]
}

fn deflater<D: CompressBench + 'static>(subject: Subject) -> Candidate {
    let messages = subject.messages();
    let written: Rc<RefCell<Vec<u8>>> = Rc::default();
    let mut checked = D::new(subject, Sink::keeping(&written));
    checked.send(&messages);
    checked.send(&messages);
    check_sent(D::NAME, subject, &messages, &mut written.borrow_mut());
    let mut sender = D::new(subject, Sink::new());
    Candidate::new(D::NAME, move || sender.send(black_box(&messages)))
}

/// Checks that a client decodes two laps of the output, and that compression has reduced their
/// size.
fn check_sent(name: &str, subject: Subject, messages: &[Bytes], written: &mut [u8]) {
    let mut plain = Vec::new();
    messages.iter().for_each(|message| encode_server(OpCode::Text, message, &mut plain));
    assert!(written.len() < 2 * plain.len() * 9 / 10, "{name} does not compress {subject}");
    let mut decoder = Decoder::with_deflate(Role::Client, &subject.params());
    let mut pool = SpillPool::new(Limits::default());
    let mut expected = messages.iter().chain(messages);
    let mut at = 0;
    while let Some(event) = decoder.next(&mut pool, written, &mut at).expect("the output is valid") {
        let Event::Message(message) = event else { panic!("{name} sends something other than messages: {event:?}") };
        let expected = expected.next().expect("there are no additional messages");
        assert!(message.payload() == expected, "{name} corrupts a message of {subject}");
    }
    assert!(expected.next().is_none(), "{name} loses messages of {subject}");
}

fn inflater<I: DecompressBench + 'static>(subject: Subject) -> Candidate {
    let messages = subject.messages();
    let count = messages.len();
    let mut receiver = I::new(subject, subject.incoming());
    let mut expected = messages.iter().chain(&messages);
    receiver.receive(2 * count, |payload| {
        let expected = expected.next().expect("there are no additional messages");
        assert!(payload == expected, "{} corrupts a message of {subject}", I::NAME);
    });
    assert!(expected.next().is_none(), "{} loses messages of {subject}", I::NAME);
    Candidate::new(I::NAME, move || {
        receiver.receive(count, |payload| {
            black_box(payload);
        });
    })
}
