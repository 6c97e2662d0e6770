//! Stops a server when the process that has started it ends.

use std::io::{self, ErrorKind, Read};

/// Calls `then` when standard input ends, because the process at its other end has closed it or has
/// exited.
pub(crate) fn on_end(then: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let watch = move || {
        let mut input = io::stdin().lock();
        let mut bytes = [0; 256];
        loop {
            match input.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        then();
    };
    std::thread::Builder::new().name("ringway-stdin".into()).spawn(watch).map(drop)
}
