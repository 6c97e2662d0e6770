//! The speed of unmasking payloads in place and while copying, compared with a copy of the same
//! size.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_codec::mask;
use std::hint::black_box;

fn unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask");
    for size in [16, 125, 512, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(size as u64));
        let mut payload = vec![0x5a; size];
        let source = payload.clone();
        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| black_box(&mut payload).copy_from_slice(black_box(&source)));
        });
        group.bench_function(BenchmarkId::new("in place", size), |bencher| {
            bencher.iter(|| mask::apply(black_box(&mut payload), black_box([1, 2, 3, 4]), 0));
        });
        group.bench_function(BenchmarkId::new("copy", size), |bencher| {
            bencher.iter(|| mask::copy(black_box(&source), black_box(&mut payload), black_box([1, 2, 3, 4]), 0));
        });
    }
    group.finish();
}

criterion_group!(benches, unmask);
criterion_main!(benches);
