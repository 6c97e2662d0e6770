//! SIGINT and SIGTERM.

use super::error::RunError;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::thread;

/// Calls `stop` at the first of these signals; the second has its default action.
pub(super) fn watch(stop: impl FnOnce() + Send + 'static) -> Result<(), RunError> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(RunError::Signals)?;
    let watch = move || {
        let mut stop = Some(stop);
        for signal in signals.forever() {
            match stop.take() {
                Some(stop) => stop(),
                None => drop(emulate_default_handler(signal)),
            }
        }
    };
    thread::Builder::new().name("ringway-signals".into()).spawn(watch).map_err(RunError::Signals)?;
    Ok(())
}
