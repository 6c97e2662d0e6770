#![no_main]
//! The events of a stream, and the error that ends them, do not depend on where it is cut into inputs.

use libfuzzer_sys::fuzz_target;
use ringway_fuzz::{Cut, decode};

fuzz_target!(|data: &[u8]| {
    let Some(Cut { role, deflate, limits, cuts, stream }) = Cut::parse(data) else { return };
    let whole = decode(role, deflate.as_ref(), limits, stream, &[]);
    assert_eq!(decode(role, deflate.as_ref(), limits, stream, &cuts), whole);
    if stream.len() <= 300 {
        let every: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(decode(role, deflate.as_ref(), limits, stream, &every), whole, "byte by byte");
    }
    // A violation is found by the byte that commits it: what comes behind that is not looked at.
    if let (seen, Some(error)) = whole {
        let longer = [stream, &[0x81; 200]].concat();
        assert_eq!(decode(role, deflate.as_ref(), limits, &longer, &cuts), (seen, Some(error)));
    }
});
