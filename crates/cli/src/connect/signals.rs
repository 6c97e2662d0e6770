//! The signals that end a conversation: the first one closes the connection, a second one ends the
//! process at once. The terminal is restored in any case.

use super::client::CLOSE_TIMEOUT;
use super::terminal::TerminalModes;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals as Watch;
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Signals within this time of each other count as one: some senders signal the process and then its
/// group.
const SAME: Duration = Duration::from_millis(200);

/// The time beyond that of closing, after which a program ends that its terminal or its reader blocks.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Interrupts {
    /// The number of the first signal; 0 until it arrives.
    first: Arc<AtomicI32>,
    /// Whether the conversation has ended, so that SIGINT is for the prompt only.
    ended: Arc<AtomicBool>,
    requests: mpsc::Sender<i32>,
}

impl Interrupts {
    /// Watches SIGINT, SIGTERM, SIGHUP and SIGQUIT. `close` begins to close the connection because
    /// of a signal.
    pub(super) fn watch(modes: TerminalModes, close: impl Fn(i32) + Send + 'static) -> io::Result<Self> {
        let (requests, requested) = mpsc::channel();
        let watched = Self { first: Arc::default(), ended: Arc::default(), requests };
        let mut signals = Watch::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
        let forward = watched.requests.clone();
        let forwarding = move || {
            for signal in signals.forever() {
                // Fails when the program ends.
                let _ = forward.send(signal);
            }
        };
        std::thread::Builder::new().name("ringway-signals".into()).spawn(forwarding)?;
        let of_thread = (Arc::clone(&watched.first), Arc::clone(&watched.ended));
        std::thread::Builder::new().name("ringway-closing".into()).spawn(move || {
            let (first, ended) = of_thread;
            let mut begun: Option<(i32, Instant)> = None;
            loop {
                let signal = match begun {
                    None => requested.recv().ok(),
                    Some((number, at)) => {
                        let left = (CLOSE_TIMEOUT + GRACE).saturating_sub(at.elapsed());
                        match requested.recv_timeout(left) {
                            Ok(signal) => Some(signal),
                            // Something blocks the program.
                            Err(_) => Self::end(&modes, number),
                        }
                    }
                };
                let Some(signal) = signal else { return };
                if signal == SIGQUIT {
                    Self::end(&modes, signal);
                }
                if signal == SIGINT && ended.load(Ordering::Acquire) {
                    continue;
                }
                match begun {
                    None => {
                        begun = Some((signal, Instant::now()));
                        first.store(signal, Ordering::Release);
                        close(signal);
                    }
                    Some((_, at)) if at.elapsed() <= SAME => {}
                    Some(_) => Self::end(&modes, signal),
                }
            }
        })?;
        Ok(watched)
    }

    /// Acts as if the signal had arrived.
    pub(super) fn raise(&self, signal: i32) {
        let _ = self.requests.send(signal);
    }

    /// From now on SIGINT only ends the prompt.
    pub(super) fn conversation_ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The number of the signal that has arrived.
    pub(super) fn caught(&self) -> Option<u8> {
        u8::try_from(self.first.load(Ordering::Acquire)).ok().filter(|signal| *signal > 0)
    }

    /// Ends the process as the signal does by default.
    fn end(modes: &TerminalModes, signal: i32) -> ! {
        modes.restore();
        let _ = emulate_default_handler(signal);
        // A signal whose default is not to end the process is not watched.
        std::process::exit(128 + signal)
    }
}
