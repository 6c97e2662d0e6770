//! Reloading of certificates and keys while a server runs.

use super::pem::{FileState, file_state};
use super::server::TlsConfig;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

/// The time between two checks of the files. A changed file is read at the check after that which
/// finds it, so a pair is complete even if its two files are replaced one after the other.
const INTERVAL: Duration = Duration::from_secs(2);

/// The time between two warnings of a certificate that expires soon.
const WARNING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// A thread that reads the files of a configuration again on request, and when they change. It ends
/// when this is dropped.
#[derive(Debug)]
pub(crate) struct TlsReload {
    /// `None` while dropping.
    requests: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsReload {
    /// Starts the thread. It calls `publish` with each new configuration, after all of its checks, and
    /// again at the next check of the files if that returns false. A configuration with an error is
    /// logged as one line, and the present one remains in use.
    ///
    /// # Errors
    /// If the thread could not be started.
    pub(crate) fn start(
        config: TlsConfig,
        publish: impl FnMut(&TlsConfig) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with(config, INTERVAL, publish)
    }

    pub(super) fn start_with(
        config: TlsConfig,
        interval: Duration,
        publish: impl FnMut(&TlsConfig) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, receiver) = channel();
        let watch = Watch::new(config);
        let run = move || run(watch, &receiver, interval, publish);
        let thread = thread::Builder::new().name("ringway-tls".into()).spawn(run)?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Reads the files now, changed or not. Does not wait for it.
    pub(crate) fn reload(&self) {
        if let Some(requests) = &self.requests {
            // The thread ends only when `publish` panics.
            let _ = requests.send(());
        }
    }
}

impl Drop for TlsReload {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread.
            let _ = thread.join();
        }
    }
}

fn run(mut watch: Watch, requests: &Receiver<()>, interval: Duration, mut publish: impl FnMut(&TlsConfig) -> bool) {
    let mut is_published = true;
    loop {
        let changed = match requests.recv_timeout(interval) {
            Ok(()) => {
                // Requests that came meanwhile are served by one reading.
                while requests.try_recv().is_ok() {}
                watch.load()
            }
            Err(RecvTimeoutError::Timeout) => watch.poll(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if changed || !is_published {
            is_published = publish(&watch.config);
        }
        watch.warn_of_expiry(SystemTime::now());
    }
}

/// The files of a configuration, and what is loaded of them.
pub(super) struct Watch {
    config: TlsConfig,
    /// As of the last reading, successful or not.
    loaded: Vec<FileState>,
    /// As of the last poll, if they differ from `loaded`.
    changed: Option<Vec<FileState>>,
    warned: SystemTime,
}

impl Watch {
    pub(super) fn new(config: TlsConfig) -> Self {
        // A change since the configuration was made is found by the next poll.
        let loaded = config.file_states();
        // The configuration has logged its warnings when it was made.
        Self { config, loaded, changed: None, warned: SystemTime::now() }
    }

    /// Reads the files if they have changed, and remained unchanged since the last poll. Returns
    /// whether there is a new configuration.
    pub(super) fn poll(&mut self) -> bool {
        let states = states(&self.config.files());
        if states == self.loaded {
            self.changed = None;
            return false;
        }
        if self.changed.as_ref() == Some(&states) {
            return self.load();
        }
        self.changed = Some(states);
        false
    }

    /// Reads the files. Returns whether there is a new configuration.
    pub(super) fn load(&mut self) -> bool {
        // Taken before reading: a change after it is seen by the next poll.
        self.loaded = states(&self.config.files());
        self.changed = None;
        match self.config.reloaded() {
            Ok(config) => {
                let expires = super::certificate::date(config.expires());
                tracing::info!("the TLS certificates are reloaded; the first expires on {expires}");
                self.config = config;
                self.warned = SystemTime::now();
                true
            }
            Err(error) => {
                tracing::error!("the TLS certificates are not reloaded, the present ones remain in use: {error}");
                false
            }
        }
    }

    /// Logs certificates that expire soon, once a day.
    pub(super) fn warn_of_expiry(&mut self, now: SystemTime) {
        if now.duration_since(self.warned).is_ok_and(|since| since >= WARNING_INTERVAL) {
            self.warned = now;
            self.config.warn_of_expiry(now);
        }
    }

    #[cfg(test)]
    pub(super) fn config(&self) -> &TlsConfig {
        &self.config
    }
}

fn states(files: &[&Path]) -> Vec<FileState> {
    files.iter().map(|file| file_state(file)).collect()
}
