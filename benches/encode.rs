//! The rate of encoding messages, in messages per second, compared with other encoders.

mod encoders;
mod now;
mod sink;
mod wire;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway_codec::{OpCode, Role};
use wire::StreamShape;

fn beside_others(criterion: &mut Criterion) {
    for role in [Role::Server, Role::Client] {
        for size in [20, 512, 16 << 10] {
            let shape = StreamShape { role, opcode: OpCode::Binary, size };
            let mut group = criterion.benchmark_group(format!("encode/{shape}"));
            group.throughput(Throughput::Elements(shape.messages()));
            for mut encoder in encoders::all(shape) {
                group.bench_function(encoder.name, |bencher| bencher.iter(|| encoder.turn()));
            }
            group.finish();
        }
    }
}

criterion_group!(benches, beside_others);
criterion_main!(benches);
