//! The speed of validating text, and of unmasking and validating it, in one pass and in two,
//! compared with a copy of the same size.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway_benches::{LANGUAGES, text_of};
use ringway_codec::{Utf8Stream, mask, utf8};
use std::hint::black_box;

/// A key of zeros, so that text stays text when it is unmasked repeatedly. The code has no special
/// case for it.
const KEY: [u8; 4] = [0; 4];

fn unmask_and_check(criterion: &mut Criterion) {
    for (language, pattern) in LANGUAGES {
        let mut group = criterion.benchmark_group(format!("text/{language}"));
        for size in [20, 125, 512, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
            group.throughput(Throughput::Bytes(size as u64));
            let source = text_of(size, pattern).into_bytes();
            let mut text = source.clone();
            group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
                bencher.iter(|| black_box(&mut text).copy_from_slice(black_box(&source)));
            });
            group.bench_function(BenchmarkId::new("check", size), |bencher| {
                bencher.iter(|| utf8::is_valid(black_box(&source)));
            });
            group.bench_function(BenchmarkId::new("in one", size), |bencher| {
                bencher.iter(|| utf8::unmask(black_box(&mut text), black_box(KEY)));
            });
            group.bench_function(BenchmarkId::new("unmask, then check", size), |bencher| {
                bencher.iter(|| {
                    mask::apply(black_box(&mut text), black_box(KEY), 0);
                    utf8::is_valid(black_box(&text))
                });
            });
            group.bench_function(BenchmarkId::new("appended in one", size), |bencher| {
                bencher.iter(|| {
                    text.clear();
                    Utf8Stream::new().append_unmasked(black_box(&mut text), black_box(&source), black_box(KEY), 0)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, unmask_and_check);
criterion_main!(benches);
