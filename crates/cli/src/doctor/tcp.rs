//! TCP: the queues of connections that are being opened, the memory of buffers, and connection
//! tracking.

use super::finding::{Finding, Group, State, bytes, counted, grouped};
use super::goal::Goal;
use super::system::{Read, System};

/// The length of the accept queue that Ringway asks for, and the most that a burst needs.
const BACKLOG: u64 = 65_535;

/// The highest value that is proposed for the queue of packets.
const MAX_DEVICE_BACKLOG: u64 = 65_536;

#[derive(Clone, Debug)]
pub(crate) struct TcpFacts {
    somaxconn: Read<u64>,
    syn_backlog: Read<u64>,
    syncookies: Read<u64>,
    device_backlog: Read<u64>,
    /// The packets that were dropped because that queue was full, since boot.
    dropped: Read<u64>,
    migrate: Read<u64>,
    /// Low, pressure and maximum, in pages.
    memory: Read<[u64; 3]>,
    receive: Read<[u64; 3]>,
    send: Read<[u64; 3]>,
    /// The maximum of tracked connections, and their number; `None` if the module is not loaded.
    tracked: Option<(Read<u64>, Read<u64>)>,
    page_size: u64,
}

impl TcpFacts {
    pub(crate) fn read(system: &System, page_size: u64) -> Self {
        let tracked = system.has("/proc/sys/net/netfilter/nf_conntrack_max");
        Self {
            somaxconn: system.sysctl("net.core.somaxconn"),
            syn_backlog: system.sysctl("net.ipv4.tcp_max_syn_backlog"),
            syncookies: system.sysctl("net.ipv4.tcp_syncookies"),
            device_backlog: system.sysctl("net.core.netdev_max_backlog"),
            dropped: system.text("/proc/net/softnet_stat").and_then(|stat| dropped(&stat)),
            migrate: system.sysctl("net.ipv4.tcp_migrate_req"),
            memory: system.numbers("/proc/sys/net/ipv4/tcp_mem"),
            receive: system.numbers("/proc/sys/net/ipv4/tcp_rmem"),
            send: system.numbers("/proc/sys/net/ipv4/tcp_wmem"),
            tracked: tracked.then(|| {
                (system.sysctl("net.netfilter.nf_conntrack_max"), system.sysctl("net.netfilter.nf_conntrack_count"))
            }),
            page_size,
        }
    }

    pub(crate) fn check(&self, goal: &Goal) -> Group {
        let findings = vec![
            self.somaxconn(goal),
            self.syn_backlog(goal),
            self.syncookies(),
            self.device_backlog(),
            self.migrate(),
            self.memory(goal),
            self.buffers("tcp.receive_buffers", "tcp_rmem", &self.receive),
            self.buffers("tcp.send_buffers", "tcp_wmem", &self.send),
            self.tracking(goal),
        ];
        Group { name: "TCP", findings }
    }

    /// A queue of connections that are being opened. Too short a queue costs time, not connections.
    fn queue(finding: Finding, key: &'static str, length: u64, goal: &Goal) -> Finding {
        let wanted = goal.connections().min(BACKLOG);
        let finding = finding.value(grouped(length));
        if length >= wanted || !goal.role.accepts() {
            return finding;
        }
        finding.needed(grouped(wanted)).state(State::Note).sysctl(key, wanted.to_string())
    }

    fn somaxconn(&self, goal: &Goal) -> Finding {
        Finding::of("tcp.somaxconn", "somaxconn", &self.somaxconn, |length, finding| {
            let finding = finding
                .allows(format!("{} wait to be accepted, per shard", connections(*length)))
                .detail("the accept queue of a listener, of which each shard has one; beyond it a client is delayed by a second. Ringway asks for 65 535 and gets at most this. sysctl -w net.core.somaxconn=N raises it");
            Self::queue(finding, "net.core.somaxconn", *length, goal)
        })
    }

    fn syn_backlog(&self, goal: &Goal) -> Finding {
        Finding::of("tcp.syn_backlog", "tcp_max_syn_backlog", &self.syn_backlog, |length, finding| {
            let finding = finding
                .allows(format!("{} half open, per shard", connections(*length)))
                .detail("handshakes of TCP in progress; above it the kernel uses SYN cookies, or drops them. sysctl -w net.ipv4.tcp_max_syn_backlog=N raises it");
            Self::queue(finding, "net.ipv4.tcp_max_syn_backlog", *length, goal)
        })
    }

    fn syncookies(&self) -> Finding {
        Finding::of("tcp.syncookies", "tcp_syncookies", &self.syncookies, |mode, finding| {
            let finding = finding.value(mode.to_string()).detail("0: off; 1: when the queue is full; 2: always");
            match mode {
                0 => finding
                    .allows("a flood of SYNs keeps clients out")
                    .state(State::Note)
                    .sysctl("net.ipv4.tcp_syncookies", "1"),
                1 => finding.allows("clients can connect during a flood of SYNs"),
                _ => finding
                    .allows("all connections lose options of TCP")
                    .state(State::Note)
                    .command("sysctl -w net.ipv4.tcp_syncookies=1"),
            }
        })
    }

    fn device_backlog(&self) -> Finding {
        let both = self.device_backlog.clone().and_then(|length| Ok((length, self.dropped.clone()?)));
        Finding::of("tcp.device_backlog", "netdev_max_backlog", &both, |(length, dropped), finding| {
            let finding = finding.value(grouped(*length)).detail(
                "net.core.netdev_max_backlog: packets that wait for a core, on loopback and with RPS; \
                 /proc/net/softnet_stat has those that were dropped since boot",
            );
            if *dropped == 0 {
                return finding.allows("packets wait for a core, and none was dropped");
            }
            let finding = finding
                .allows(format!("{} dropped since boot", counted(*dropped, "packet was", "packets were")))
                .state(State::Note);
            // Beyond that, packets wait too long.
            match length.saturating_mul(4) {
                larger if larger <= MAX_DEVICE_BACKLOG => {
                    finding.command(format!("sysctl -w net.core.netdev_max_backlog={larger}"))
                }
                _ => finding.command("ethtool -L or RPS, which spread packets over cores: see the check of the queues"),
            }
        })
    }

    fn migrate(&self) -> Finding {
        let (id, title) = ("tcp.migrate", "tcp_migrate_req");
        Finding::of(id, title, &self.migrate, |mode, finding| {
            let finding = finding.value(mode.to_string()).detail("since Linux 5.14; serve --handover does not need it");
            match mode {
                0 => finding.allows("a server that stops resets waiting connections"),
                _ => finding.allows("waiting connections move to another listener"),
            }
        })
    }

    /// The memory of all buffers: an idle connection has none, and one with bytes in a buffer at
    /// least a page.
    fn memory(&self, goal: &Goal) -> Finding {
        Finding::of("tcp.memory", "tcp_mem", &self.memory, |[low, pressure, max], finding| {
            let ends = goal.role.ends();
            let (needed, busy) = (goal.connections().saturating_mul(ends), max / ends);
            let finding = finding
                .value(bytes(max.saturating_mul(self.page_size)))
                .allows(format!(
                    "{} with bytes in buffers",
                    connections(busy)
                ))
                .detail(format!(
                    "{low} {pressure} {max} pages of {}; each connection with unread or unsent bytes takes one at least, an idle one none; above the second number the kernel shrinks windows. sysctl -w net.ipv4.tcp_mem=\"LOW PRESSURE MAX\" raises it",
                    bytes(self.page_size)
                ))
                .connections(busy);
            if *max >= needed {
                return finding;
            }
            let larger = |value: u64, share: u64| value.max(needed.saturating_mul(share) / 4);
            // The kernel's own proportions: 3 to 4 to 6.
            let value = format!("{} {} {}", larger(*low, 3), larger(*pressure, 4), larger(*max, 6));
            finding.needed(format!("{} pages", grouped(needed))).state(goal.lacking()).sysctl("net.ipv4.tcp_mem", value)
        })
    }

    fn buffers(&self, id: &'static str, title: &'static str, sizes: &Read<[u64; 3]>) -> Finding {
        Finding::of(id, title, sizes, |[min, default, max], finding| {
            finding
                .value(format!("{} at first", bytes(*default)))
                .allows(format!("none when idle, up to {} when stalled", bytes(*max)))
                .detail(format!("{min} {default} {max}: minimum, initial and maximum bytes of one connection; tcp_mem limits their sum"))
        })
    }

    fn tracking(&self, goal: &Goal) -> Finding {
        let (id, title) = ("tcp.tracking", "nf_conntrack_max");
        let Some((max, count)) = &self.tracked else {
            return Finding::good(id, title, "not loaded")
                .allows("no connection is tracked")
                .detail("/proc/sys/net/netfilter/nf_conntrack_max");
        };
        let both = max.clone().and_then(|max| Ok((max, count.clone()?)));
        Finding::of(id, title, &both, |(max, count), finding| {
            let free = max.saturating_sub(*count);
            let needed = goal.connections().saturating_add(*count);
            let finding = finding.value(grouped(*max)).detail(format!(
                "net.netfilter.nf_conntrack_max, for firewalls with state; {} are tracked now. A rule with NOTRACK for \
                 the port of the server does without; sysctl -w net.netfilter.nf_conntrack_max=N raises it",
                grouped(*count)
            ));
            // While a rule asks for the state of connections, all of them are tracked.
            let is_used = *count > 0;
            let finding = match is_used {
                true => finding.allows(format!("{} through a firewall", connections(free))).connections(free),
                false => finding.allows("no connection is tracked now; it limits if a rule tracks them"),
            };
            if *max >= needed {
                return finding;
            }
            let value = needed.saturating_add(needed / 20);
            finding
                .needed(grouped(needed))
                .state(if is_used { goal.lacking() } else { State::Note })
                .sysctl("net.netfilter.nf_conntrack_max", value.to_string())
        })
    }
}

fn connections(number: u64) -> String {
    counted(number, "connection", "connections")
}

/// The sum of the second column, in hexadecimal, over the lines of the cores.
fn dropped(stat: &str) -> Read<u64> {
    let columns = stat.lines().map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok());
    let sum = columns.reduce(|sum, dropped| Some(sum?.saturating_add(dropped?))).flatten();
    sum.ok_or_else(|| "/proc/net/softnet_stat has no second column".to_owned())
}
