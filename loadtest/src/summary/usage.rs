//! The resource use of both sides in the report.

use super::messages::MessageShare;
use crate::ledger::Counts;
use crate::observe::ServerIdentity;
use crate::observe::server::ServerUse;
use crate::observe::usage::Usage;
use crate::plan::Population;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The resource use of the generator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GeneratorFigures {
    /// The figures of each thread.
    pub threads: Vec<GeneratorThreadFigures>,
    /// CPU time of all threads.
    pub cpu_seconds: f64,
    /// How late the threads woke up for messages that were due, at the 99th percentile: the
    /// uncertainty of latencies. `null` in a closed loop.
    pub uncertainty_us: Option<f64>,
}

/// The resource use and the messages of a thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GeneratorThreadFigures {
    /// The core; `null` if it was not pinned.
    pub core: Option<usize>,
    /// The share of the measured part for which it worked, from 0 to 1, without polling.
    pub busy: f64,
    /// The share for which it polled.
    pub polling: f64,
    /// The share for which it was runnable and waited for a core. `null` if the kernel does not say.
    pub run_delay: Option<f64>,
    /// CPU time.
    pub cpu_seconds: f64,
    /// Its messages, of all populations.
    pub messages: MessageShare,
    /// Its messages by population.
    pub populations: BTreeMap<String, MessageShare>,
}

/// The resource use of the server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerFigures {
    /// Its process id; the lowest one if there are several.
    pub pid: u32,
    /// The name of the process.
    pub name: String,
    /// CPU time of all its threads.
    pub cpu_seconds: f64,
    /// CPU time per reply, or per sent message where none is expected, in microseconds. Messages that
    /// the server sends on its own count only if the plan sends none. `null` without such messages.
    pub cpu_us_per_message: Option<f64>,
    /// Its memory at the end of the measured part.
    pub rss_bytes: u64,
    /// The share of the measured part for which its busiest thread ran, from 0 to 1.
    pub busiest_thread: f64,
    /// Its CPU time divided by the length of the measured part.
    pub cores_used: f64,
}

impl GeneratorThreadFigures {
    /// `shares`: the counts of each population.
    pub(super) fn new(usage: &Usage, core: Option<usize>, populations: &[Population], shares: &[Counts]) -> Self {
        let mut all = Counts::default();
        shares.iter().for_each(|share| all.add(share));
        let named = populations.iter().zip(shares);
        Self {
            core,
            busy: usage.busy(),
            polling: usage.polling(),
            run_delay: usage.waiting(),
            cpu_seconds: usage.cpu.as_secs_f64(),
            messages: MessageShare::new(&all),
            populations: named.map(|(population, share)| (population.name.clone(), MessageShare::new(share))).collect(),
        }
    }
}

impl ServerFigures {
    pub(super) fn new(identity: ServerIdentity, used: &ServerUse, per_second: f64, length: Duration) -> Self {
        let messages = per_second * length.as_secs_f64();
        Self {
            pid: identity.pid,
            name: identity.name,
            cpu_seconds: used.cpu.as_secs_f64(),
            cpu_us_per_message: (messages >= 1.0).then(|| used.cpu.as_secs_f64() * 1e6 / messages),
            rss_bytes: used.rss,
            busiest_thread: used.busiest,
            cores_used: used.cores_used,
        }
    }
}
