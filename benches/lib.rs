//! Criterion benches of the codec: `cargo bench -p ringway-benches`. There is nothing here to build on.
