#![no_main]
//! One session of the engine, driven by the input: bytes that arrive, completions of sends, jumps
//! of the clock, and what the application does. `ringway::drive_session` checks the invariants.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ringway::drive_session(data));
