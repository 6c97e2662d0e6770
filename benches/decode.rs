//! How fast a stream of masked messages is decoded, as a server does: messages that lie whole in their buffer, and the
//! same stream in pieces that cut them.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_codec::{Decoder, Event, Limits, OpCode, Role, SpillPool, encode_client};

const BUFFER: usize = 32 << 10;

/// As many messages of `size` bytes as fit one receive buffer, and how many these are.
fn stream(opcode: OpCode, size: usize) -> (Vec<u8>, u64) {
    let payload = vec![b'a'; size];
    let (mut bytes, mut count) = (Vec::new(), 0);
    while bytes.len() + size + 14 <= BUFFER {
        encode_client(opcode, &payload, [1, 2, 3, count as u8], &mut bytes);
        count += 1;
    }
    (bytes, count)
}

/// Decodes `bytes` in inputs of `piece` bytes, and returns how many messages there were.
fn decode(pool: &mut SpillPool, bytes: &mut [u8], piece: usize) -> u64 {
    let mut decoder = Decoder::new(Role::Server);
    let mut messages = 0;
    for input in bytes.chunks_mut(piece) {
        let mut at = 0;
        while let Some(event) = decoder.next(pool, input, &mut at).expect("the stream is right") {
            messages += u64::from(matches!(event, Event::Message(_)));
        }
    }
    messages
}

fn benches_of(criterion: &mut Criterion, name: &str, opcode: OpCode, piece: usize) {
    let mut group = criterion.benchmark_group(name);
    let mut pool = SpillPool::new(Limits::default());
    for size in [20, 512, 16 << 10] {
        let (bytes, count) = stream(opcode, size);
        assert_eq!(decode(&mut pool, &mut bytes.clone(), piece), count);
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched_ref(|| bytes.clone(), |bytes| decode(&mut pool, bytes, piece), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn decode_streams(criterion: &mut Criterion) {
    benches_of(criterion, "decode/binary", OpCode::Binary, BUFFER);
    benches_of(criterion, "decode/text", OpCode::Text, BUFFER);
    benches_of(criterion, "decode/binary in pieces of 1000 B", OpCode::Binary, 1000);
}

criterion_group!(benches, decode_streams);
criterion_main!(benches);
