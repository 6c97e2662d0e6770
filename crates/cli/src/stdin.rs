//! Servers that end with whoever started them.

use std::io::{self, Read};

/// Calls `then` when standard input ends: the process at its other end has closed it, or is gone.
pub(crate) fn on_end(then: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let watch = move || {
        let mut input = io::stdin().lock();
        let mut bytes = [0; 256];
        while !matches!(input.read(&mut bytes), Ok(0) | Err(_)) {}
        then();
    };
    std::thread::Builder::new().name("ringway-stdin".into()).spawn(watch).map(drop)
}
