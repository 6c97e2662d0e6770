//! The cost and the ratio of compression: messages of a feed, each similar to the one before,
//! through a compressor and through a decoder, with and without context takeover. The ratios are
//! printed first. And 300 B of JSON and 16 KiB of text, compared with the other codecs that
//! compress.

mod compression;
mod lap;
mod now;
mod sink;

use compression::{Matter, Subject, deflaters, inflaters};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_codec::{
    Decoder, DeflateParams, Deflater, Event, Limits, MessageKind, Role, SpillPool, WindowBits, encode_deflated,
};
use std::fmt::Write;

const SIZES: [usize; 5] = [64, 128, 512, 4 << 10, 16 << 10];
const LEVELS: [u8; 4] = [1, 2, 3, 6];

/// Texts like those of a feed of prices.
fn feed(size: usize) -> Vec<String> {
    let mut seed = 7u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let names = ["ACME", "GLOBEX", "INITECH", "HOOLI", "UMBRELLA", "STARK", "WAYNE", "TYRELL"];
    let message = |random: &mut dyn FnMut(u64) -> u64| {
        let mut text = String::new();
        while text.len() < size {
            let (name, price, volume) = (names[random(8) as usize], random(100_000), random(10_000));
            let _ = write!(text, "{{\"symbol\":\"{name}\",\"price\":{price},\"volume\":{volume},\"side\":\"buy\"}},");
        }
        text.truncate(size);
        text
    };
    (0..64).map(|_| message(&mut random)).collect()
}

fn agreed(takeover: bool) -> DeflateParams {
    let no = !takeover;
    DeflateParams { server_no_context_takeover: no, client_no_context_takeover: no, ..DeflateParams::default() }
}

fn name(takeover: bool) -> &'static str {
    if takeover { "takeover" } else { "shared" }
}

/// All messages as compressed frames of a client.
fn frames(deflater: &mut Deflater, messages: &[String], takeover: bool, out: &mut Vec<u8>) {
    for message in messages {
        encode_deflated(MessageKind::Text, message.as_bytes(), None, deflater, takeover, out);
    }
}

fn print_sizes() {
    println!("of 100 bytes are left, frames included:");
    println!("{:>8} {:>10} {}", "bytes", "", LEVELS.map(|level| format!("{:>8}", format!("level {level}"))).concat());
    for size in SIZES {
        let messages = feed(size);
        for takeover in [true, false] {
            let left = LEVELS.map(|level| {
                let mut deflater = Deflater::new(level, WindowBits::MAX).expect("a window");
                let mut out = Vec::new();
                frames(&mut deflater, &messages, takeover, &mut out);
                format!("{:>8.1}", out.len() as f64 * 100.0 / (size * messages.len()) as f64)
            });
            println!("{size:>8} {:>10} {}", name(takeover), left.concat());
        }
    }
}

fn deflate(criterion: &mut Criterion) {
    print_sizes();
    for takeover in [true, false] {
        let mut group = criterion.benchmark_group(format!("deflate/{}", name(takeover)));
        for size in SIZES {
            let messages = feed(size);
            group.throughput(Throughput::Bytes(size as u64));
            for level in LEVELS {
                let mut deflater = Deflater::new(level, WindowBits::MAX).expect("a window");
                let (mut out, mut turn) = (Vec::new(), 0);
                group.bench_function(BenchmarkId::new(format!("level {level}"), size), |bencher| {
                    bencher.iter(|| {
                        out.clear();
                        turn = (turn + 1) % messages.len();
                        frames(&mut deflater, &messages[turn..=turn], takeover, &mut out);
                        out.len()
                    });
                });
            }
        }
        group.finish();
    }
}

fn inflate(criterion: &mut Criterion) {
    for takeover in [true, false] {
        let mut group = criterion.benchmark_group(format!("inflate/{}", name(takeover)));
        for size in SIZES {
            let messages = feed(size);
            let mut deflater = Deflater::new(6, WindowBits::MAX).expect("a window");
            let mut stream = Vec::new();
            frames(&mut deflater, &messages, takeover, &mut stream);
            let mut pool = SpillPool::new(Limits::default());
            let mut decoder = Decoder::with_deflate(Role::Client, &agreed(takeover));
            group.throughput(Throughput::Bytes((size * messages.len()) as u64));
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter(|| {
                    // The frames of a server are not masked, so decoding does not change the input
                    // of a client.
                    let (mut at, mut bytes) = (0, 0);
                    while let Some(event) = decoder.next(&mut pool, &mut stream, &mut at).expect("the stream is valid")
                    {
                        if let Event::Message(message) = event {
                            bytes += message.payload().len();
                        }
                    }
                    assert_eq!(bytes, size * messages.len());
                });
            });
        }
        group.finish();
    }
}

fn beside_others(criterion: &mut Criterion) {
    for matter in [Matter::Json, Matter::Text] {
        for takeover in [true, false] {
            let subject = Subject { matter, takeover, level: 1 };
            for (what, contestants) in [("deflate", deflaters(subject)), ("inflate", inflaters(subject))] {
                let mut group = criterion.benchmark_group(format!("{what}, {subject}"));
                group.throughput(Throughput::Elements(subject.messages().len() as u64));
                for mut contestant in contestants {
                    group.bench_function(contestant.name, |bencher| bencher.iter(|| contestant.turn()));
                }
                group.finish();
            }
        }
    }
}

criterion_group!(benches, deflate, inflate, beside_others);
criterion_main!(benches);
