//! The signals that end a run early.

use ringway_loadtest::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Watch;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// Signals within this time of each other count as one.
const ONE_WISH: Duration = Duration::from_millis(200);

/// Watches SIGINT and SIGTERM: the first one ends the run early, a later one ends the process.
pub(crate) struct Signals {
    pub(crate) stop: Stop,
    /// The number of the first signal; 0 until it arrives.
    first: Arc<AtomicI32>,
}

impl Signals {
    pub(crate) fn watch() -> io::Result<Self> {
        let watched = Self { stop: Stop::default(), first: Arc::default() };
        let (stop, first) = (watched.stop.clone(), Arc::clone(&watched.first));
        let mut signals = Watch::new([SIGINT, SIGTERM])?;
        let watch = move || {
            let mut came = None;
            for signal in signals.forever() {
                // Some senders signal the process and then its group: that is one request, not two.
                if came.get_or_insert_with(Instant::now).elapsed() > ONE_WISH {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                let _ = first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed);
                stop.now();
            }
        };
        std::thread::Builder::new().name("ringway-signals".into()).spawn(watch)?;
        Ok(watched)
    }

    /// The number of the signal that has arrived.
    pub(crate) fn caught(&self) -> Option<u8> {
        u8::try_from(self.first.load(Ordering::Relaxed)).ok().filter(|signal| *signal > 0)
    }
}
