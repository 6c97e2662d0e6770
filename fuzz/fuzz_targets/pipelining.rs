#![no_main]
//! Pipelined requests of HTTP/1.1 in arbitrary splits, and messages behind them: the responses and the
//! calls of the application are those of the whole input. `ringway::drive_requests` compares them.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ringway::drive_requests(data));
