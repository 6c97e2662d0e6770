#![no_main]
//! The events of a stream, and the error that ends them, do not depend on where it is cut into
//! inputs, nor on which of the pieces are received directly into the buffers of their messages, nor
//! on the number of bytes that each call may inflate.

use libfuzzer_sys::fuzz_target;
use ringway_fuzz::Cut;
use ringway_testkit::decoder::{decode, decode_as, decode_in_steps};

fuzz_target!(|data: &[u8]| {
    let Some(Cut { role, deflate, limits, cuts, stream }) = Cut::parse(data) else { return };
    let whole = decode(role, deflate.as_ref(), limits, stream, &[]);
    assert_eq!(decode(role, deflate.as_ref(), limits, stream, &cuts), whole);
    // The cuts of the input also determine which pieces are received directly, and in what sizes.
    let odd = |number: usize| cuts.get(number).is_some_and(|cut| cut % 2 == 1).then_some(usize::MAX);
    assert_eq!(decode_as(role, deflate.as_ref(), limits, stream, &cuts, odd), whole, "some straight");
    let max = 1 + cuts.len();
    assert_eq!(decode_as(role, deflate.as_ref(), limits, stream, &cuts, |_| Some(max)), whole, "straight");
    // From 0 to more than the longest step; the last one is not 0, so that decoding ends.
    let allowances: Vec<usize> = cuts.iter().map(|cut| cut % 7 * 500).chain([1]).collect();
    let in_steps = decode_in_steps(role, deflate.as_ref(), limits, stream, &cuts, &allowances);
    assert_eq!(in_steps, whole, "in steps of {allowances:?}");
    if stream.len() <= 300 {
        let every: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(decode(role, deflate.as_ref(), limits, stream, &every), whole, "byte by byte");
        let straight = decode_as(role, deflate.as_ref(), limits, stream, &every, |_| Some(max));
        assert_eq!(straight, whole, "straight, byte by byte");
    }
    // A violation is detected at the byte that commits it; the bytes after it are not read.
    if let (seen, Some(error)) = whole {
        let longer = [stream, &[0x81; 200]].concat();
        assert_eq!(decode(role, deflate.as_ref(), limits, &longer, &cuts), (seen, Some(error)));
    }
});
