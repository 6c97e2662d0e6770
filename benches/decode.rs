//! The rate of decoding streams of messages, in messages per second, compared with other decoders;
//! and that of Ringway's decoder for a stream in pieces that cut the messages.

mod decoders;
mod lap;
mod now;
mod wire;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_codec::{Decoder, Event, Limits, OpCode, Role, SpillPool};
use wire::StreamShape;

fn beside_others(criterion: &mut Criterion) {
    for role in [Role::Server, Role::Client] {
        for opcode in [OpCode::Binary, OpCode::Text] {
            for size in [20, 512, 16 << 10] {
                let shape = StreamShape { role, opcode, size };
                let mut group = criterion.benchmark_group(format!("decode/{shape}"));
                group.throughput(Throughput::Elements(shape.messages()));
                for mut decoder in decoders::all(shape) {
                    group.bench_function(decoder.name, |bencher| bencher.iter(|| decoder.turn()));
                }
                group.finish();
            }
        }
    }
}

/// Decodes `bytes` in inputs of `piece` bytes, and returns the number of messages.
fn decode(pool: &mut SpillPool, bytes: &mut [u8], piece: usize) -> u64 {
    let mut decoder = Decoder::new(Role::Server);
    let mut messages = 0;
    for input in bytes.chunks_mut(piece) {
        let mut at = 0;
        while let Some(event) = decoder.next(pool, input, &mut at).expect("the stream is valid") {
            messages += u64::from(matches!(event, Event::Message(_)));
        }
    }
    messages
}

fn in_pieces(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode/in pieces of 1000 B");
    let mut pool = SpillPool::new(Limits::default());
    for size in [20, 512, 16 << 10] {
        let shape = StreamShape { role: Role::Server, opcode: OpCode::Binary, size };
        let bytes = decoders::incoming(shape);
        assert_eq!(decode(&mut pool, &mut bytes.clone(), 1000), shape.messages());
        group.throughput(Throughput::Elements(shape.messages()));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched_ref(|| bytes.clone(), |bytes| decode(&mut pool, bytes, 1000), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, beside_others, in_pieces);
criterion_main!(benches);
