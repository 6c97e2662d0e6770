//! Local ports: each outgoing connection to one server address takes one of its source address.

use super::finding::{Finding, Group, State, counted, grouped};
use super::goal::Goal;
use super::system::{Read, System, excerpt, sysctl_path};

/// Ports below 1024 are for privileged services.
const FIRST_PORT: u64 = 1024;
const LAST_PORT: u64 = 65_535;

/// The time that a closed connection keeps its port, in seconds (TCP_TIMEWAIT_LEN).
const TIME_WAIT: u64 = 60;

#[derive(Clone, Debug)]
pub(crate) struct PortFacts {
    range: Read<[u64; 2]>,
    reserved: Read<ReservedPorts>,
    reuse: Read<u64>,
}

impl PortFacts {
    pub(crate) fn read(system: &System) -> Self {
        Self {
            range: system.numbers("/proc/sys/net/ipv4/ip_local_port_range"),
            reserved: system
                .text(sysctl_path("net.ipv4.ip_local_reserved_ports"))
                .and_then(|text| ReservedPorts::parse(&text)),
            reuse: system.sysctl("net.ipv4.tcp_tw_reuse"),
        }
    }

    pub(crate) fn check(&self, goal: &Goal) -> Group {
        Group { name: "ports", findings: vec![self.range(goal), self.reserved(), self.reuse(goal)] }
    }

    /// The usable ports from `first` to `last`.
    fn usable(&self, [first, last]: [u64; 2]) -> u64 {
        (first..=last.min(LAST_PORT)).filter(|port| !self.is_reserved(*port)).count() as u64
    }

    fn is_reserved(&self, port: u64) -> bool {
        self.reserved.as_ref().is_ok_and(|reserved| reserved.has(port))
    }

    /// The highest first port with which that many are usable up to `last`.
    fn first_for(&self, needed: u64, last: u64) -> Option<u64> {
        let mut usable = 0;
        (FIRST_PORT..=last).rev().find(|port| {
            usable += u64::from(!self.is_reserved(*port));
            usable >= needed
        })
    }

    fn range(&self, goal: &Goal) -> Finding {
        Finding::of("ports.range", "local ports", &self.range, |range, finding| {
            let each = self.usable(*range);
            let max = each.saturating_mul(goal.addresses);
            let from = match goal.addresses {
                1 => "one address".to_owned(),
                addresses => format!("{} addresses", grouped(addresses)),
            };
            let finding = finding
                .value(format!("{}–{}", range[0], range[1]))
                .allows(format!(
                    "{} from {from}",
                    counted(max, "connection", "connections")
                ))
                .detail("net.ipv4.ip_local_port_range without the reserved ports: outgoing connections to one address of a server; incoming ones take none. sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" is the widest");
            if !goal.role.opens() {
                return finding;
            }
            let finding = finding.connections(max);
            let needed = goal.connections();
            if max >= needed {
                return finding;
            }
            let finding = finding.state(goal.lacking()).needed(grouped(needed));
            let per_address = needed.div_ceil(goal.addresses.max(1));
            // The range grows upwards, then downwards, and does not lose a port.
            let last = LAST_PORT;
            let widest = [range[0].min(FIRST_PORT), last];
            let first = self.first_for(per_address, last).map(|first| first.min(range[0]));
            let finding =
                finding.sysctl("net.ipv4.ip_local_port_range", format!("{} {last}", first.unwrap_or(widest[0])));
            if first.is_some() {
                return finding;
            }
            let widest = self.usable(widest);
            let addresses = needed.div_ceil(widest.max(1));
            finding.command(format!(
                "--source-ip {}   # of load, on loopback: {}; elsewhere those of a network card",
                loopback(addresses),
                counted(addresses, "address", "addresses")
            ))
        })
    }

    fn reserved(&self) -> Finding {
        Finding::of("ports.reserved", "reserved ports", &self.reserved, |reserved, finding| {
            let finding = finding.detail("net.ipv4.ip_local_reserved_ports");
            match reserved.count() {
                0 => finding.value("none").allows("outgoing connections may take any of them"),
                count => finding.value(grouped(count)).allows("outgoing connections do not take them"),
            }
        })
    }

    /// The rate of connections that this machine opens and closes.
    fn reuse(&self, goal: &Goal) -> Finding {
        let both = self.reuse.clone().and_then(|reuse| Ok((reuse, self.range.clone()?)));
        Finding::of("ports.time_wait", "tcp_tw_reuse", &both, |(reuse, range), finding| {
            let rate = self.usable(*range).saturating_mul(goal.addresses) / TIME_WAIT;
            let closed = format!("{} a second, opened and closed", counted(rate, "connection", "connections"));
            let finding = finding
                .value(reuse.to_string())
                .detail("a port in TIME_WAIT is kept for 60 s: 0 always, 1 a new connection may take it after a second, 2 on loopback only");
            match reuse {
                1 => finding.allows("a closed connection keeps its port for a second"),
                2 => finding.allows(format!("{closed}; more on loopback")),
                _ if goal.role.opens() => {
                    finding.allows(closed).state(State::Note).sysctl("net.ipv4.tcp_tw_reuse", "1")
                }
                _ => finding.allows(closed),
            }
        })
    }
}

/// That many addresses of loopback as `load --source-ip` takes them.
fn loopback(addresses: u64) -> String {
    let last = 1 + addresses.min(0xFF_FFFD);
    format!("127.0.0.2-127.{}.{}.{}", last >> 16 & 0xFF, last >> 8 & 0xFF, last & 0xFF)
}

/// The ports that outgoing connections do not take.
#[derive(Clone, Debug)]
struct ReservedPorts(Vec<bool>);

impl ReservedPorts {
    /// Parses the kernel's list: `8080,9000-9010`. An empty list is none.
    fn parse(text: &str) -> Read<Self> {
        let wrong = |part: &str| format!("net.ipv4.ip_local_reserved_ports has {}, which is no port", excerpt(part));
        let port = |part: &str| part.trim().parse::<u16>().map(usize::from).map_err(|_| wrong(part));
        // How many ranges begin and end at each port, so that overlapping ones cost nothing.
        let (mut begins, mut ends) = (vec![0u32; 65_536], vec![0u32; 65_536]);
        for part in text.trim().split(',').filter(|part| !part.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (port(first)?, port(last)?);
            if first > last {
                return Err(wrong(part));
            }
            begins[first] += 1;
            ends[last] += 1;
        }
        let mut open = 0;
        let covered = begins.iter().zip(&ends).map(|(begins, ends)| {
            open += begins;
            let is_covered = open > 0;
            open -= ends;
            is_covered
        });
        Ok(Self(covered.collect()))
    }

    fn has(&self, port: u64) -> bool {
        usize::try_from(port).ok().and_then(|port| self.0.get(port)).copied().unwrap_or(false)
    }

    fn count(&self) -> u64 {
        self.0.iter().filter(|is_reserved| **is_reserved).count() as u64
    }
}
