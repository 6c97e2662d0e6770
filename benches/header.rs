//! The time to parse a frame header, for each form of the length.

use criterion::{Criterion, criterion_group, criterion_main};
use ringway_codec::{Header, OpCode};
use std::hint::black_box;

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("header/parse");
    for (name, length) in [("7 bit", 20), ("16 bit", 512), ("64 bit", 1 << 20)] {
        let header = Header { fin: true, opcode: OpCode::Binary, rsv1: false, mask: Some([1, 2, 3, 4]), length };
        let mut bytes = [0; Header::MAX_LEN];
        let len = header.encode(&mut bytes);
        assert_eq!(Header::parse(&bytes[..len]), Ok(Some((header, len))));
        group.bench_function(name, |bencher| bencher.iter(|| Header::parse(black_box(&bytes[..len]))));
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
