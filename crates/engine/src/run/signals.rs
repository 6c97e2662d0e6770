//! SIGINT, SIGTERM and SIGHUP.

use super::error::RunError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::thread;

/// Calls `stop` at the first SIGINT or SIGTERM; the second has its default action. With `reload`,
/// calls it at each SIGHUP.
pub(super) fn watch(
    stop: impl FnOnce() + Send + 'static,
    reload: Option<impl Fn() + Send + 'static>,
) -> Result<(), RunError> {
    let wanted: &[_] = if reload.is_some() { &[SIGINT, SIGTERM, SIGHUP] } else { &[SIGINT, SIGTERM] };
    let mut signals = Signals::new(wanted).map_err(RunError::Signals)?;
    let watch = move || {
        let mut stop = Some(stop);
        for signal in signals.forever() {
            if let (SIGHUP, Some(reload)) = (signal, &reload) {
                reload();
                continue;
            }
            match stop.take() {
                Some(stop) => stop(),
                None => drop(emulate_default_handler(signal)),
            }
        }
    };
    thread::Builder::new().name("ringway-signals".into()).spawn(watch).map_err(RunError::Signals)?;
    Ok(())
}
