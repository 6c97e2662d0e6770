//! The kernel: its version, and what it has beside sockets.

use super::finding::{Finding, Group, State};
use super::process::ProcessFacts;
use super::system::{Read, System, excerpt};

/// The oldest kernel on which the io_uring driver has all its features.
const MIN_RING: (u32, u32) = (6, 1);

/// The oldest kernel on which the driver on tokio-uring works.
const MIN_TOKIO_URING: (u32, u32) = (5, 11);

/// The default timer slack in nanoseconds.
const DEFAULT_SLACK: u64 = 50_000;

#[derive(Clone, Debug)]
pub(crate) struct KernelFacts {
    pub(crate) release: Read<String>,
    pub(crate) version: Read<(u32, u32)>,
    /// The upper layer protocols of TCP.
    protocols: Read<String>,
    timer_slack: Read<u64>,
}

impl KernelFacts {
    pub(crate) fn read(system: &System, process: &ProcessFacts) -> Self {
        let release = system.line("/proc/sys/kernel/osrelease");
        let version = release.clone().and_then(|release| {
            version(&release).ok_or_else(|| format!("/proc/sys/kernel/osrelease has no version: {}", excerpt(&release)))
        });
        let protocols = system.line("/proc/sys/net/ipv4/tcp_available_ulp");
        Self { release, version, protocols, timer_slack: process.timer_slack.clone() }
    }

    /// Whether the kernel is of this version or newer; `None` if that is unknown.
    pub(crate) fn is_since(&self, version: (u32, u32)) -> Option<bool> {
        self.version.as_ref().ok().map(|own| *own >= version)
    }

    /// `has_ring`: the trial of io_uring has succeeded.
    pub(crate) fn check(&self, has_ring: bool) -> Group {
        Group { name: "kernel", findings: vec![self.release(has_ring), self.tls(), self.timer_slack()] }
    }

    fn release(&self, has_ring: bool) -> Finding {
        Finding::of("kernel.version", "Linux", &self.version, |version, finding| {
            let finding = finding
                .value(self.release.clone().unwrap_or_default())
                .detail("/proc/sys/kernel/osrelease. io_uring is used from 6.1 on, with all its features");
            match *version {
                version if version >= MIN_RING => finding.allows("new enough for the io_uring driver"),
                // Distributions add features of newer kernels to older ones.
                _ if has_ring => finding
                    .allows("older than 6.1, and io_uring works all the same")
                    .state(State::Note)
                    .command("boot a kernel of version 6.1 or newer"),
                _ => finding
                    .allows(match *version >= MIN_TOKIO_URING {
                        true => "epoll, or serve --driver tokio-uring",
                        false => "epoll instead of io_uring",
                    })
                    .state(State::Short)
                    .command("boot a kernel of version 6.1 or newer"),
            }
        })
    }

    /// Kernel TLS is reported, and not used.
    fn tls(&self) -> Finding {
        Finding::of("kernel.tls", "kernel TLS", &self.protocols, |protocols, finding| {
            let is_there = protocols.split_whitespace().any(|name| name == "tls");
            finding
                .value(if is_there { "loaded" } else { "not loaded" })
                .allows("of no effect: TLS runs in user space")
                .detail("net.ipv4.tcp_available_ulp; the module is tls")
        })
    }

    fn timer_slack(&self) -> Finding {
        Finding::of("kernel.timer_slack", "timer slack", &self.timer_slack, |slack, finding| {
            let is_large = *slack > DEFAULT_SLACK;
            let finding = finding
                .value(ringway_loadtest::time(*slack as f64 / 1e3))
                .allows("timers are late by up to that")
                .detail("/proc/self/timerslack_ns, inherited from the parent process; the default is 50 µs")
                .state_if(is_large, State::Note);
            if is_large { finding.command("TimerSlackNSec=50us   # in the unit of a service") } else { finding }
        })
    }
}

/// The first two numbers of a release: `6.18.44-fc` is 6.18.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
