//! Network cards: queues against cores, interrupts, and polling.

use super::finding::{Finding, Group, State, grouped};
use super::goal::Goal;
use super::system::{Read, System};
use std::collections::BTreeSet;

/// The maximum number of network cards, of queues of one, and of its interrupts that are read.
const MAX_ITEMS: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct NicFacts {
    cards: Read<Vec<Card>>,
    /// The table of RFS; 0 is off.
    flow_entries: Read<u64>,
    busy_read: Read<u64>,
    busy_poll: Read<u64>,
}

/// A network card, or a virtual one with a device.
#[derive(Clone, Debug)]
struct Card {
    name: String,
    is_up: bool,
    receive_queues: u64,
    /// The receive queues that spread packets over cores in software.
    spreading: u64,
    /// The cores that handle its interrupts; empty if they are unknown.
    interrupt_cores: BTreeSet<String>,
    /// The speed in Mbit/s.
    speed: Option<u64>,
    /// The NAPI interrupts that are deferred, so that applications poll.
    deferred: u64,
}

impl NicFacts {
    pub(crate) fn read(system: &System) -> Self {
        let cards = system.names("/sys/class/net").map(|names| {
            let cards =
                names.into_iter().filter(|name| is_plain(name) && system.has(format!("/sys/class/net/{name}/device")));
            cards.take(MAX_ITEMS).map(|name| Card::read(system, name)).collect()
        });
        Self {
            cards,
            flow_entries: system.sysctl("net.core.rps_sock_flow_entries"),
            busy_read: system.sysctl("net.core.busy_read"),
            busy_poll: system.sysctl("net.core.busy_poll"),
        }
    }

    pub(crate) fn check(&self, goal: &Goal) -> Group {
        let mut findings = vec![self.queues(goal)];
        if let Ok(cards) = &self.cards {
            findings
                .extend(cards.iter().filter(|card| !card.interrupt_cores.is_empty()).map(|card| card.interrupts(goal)));
        }
        findings.extend([self.flow_steering(), self.polling()]);
        Group { name: "network", findings }
    }

    fn queues(&self, goal: &Goal) -> Finding {
        Finding::of("nic.queues", "receive queues", &self.cards, |cards, finding| {
            let finding =
                finding.detail("/sys/class/net/*/queues; each queue has an interrupt, which one core handles");
            let up: Vec<&Card> = cards.iter().filter(|card| card.is_up).collect();
            if up.is_empty() {
                return finding.value("none").allows("loopback and Unix sockets alone");
            }
            let value: Vec<String> = up.iter().map(|card| card.in_words()).collect();
            let finding = finding.value(value.join(", "));
            let few: Vec<&&Card> =
                up.iter().filter(|card| card.receive_queues < goal.shards && card.spreading == 0).collect();
            let Some(card) = few.first() else {
                return finding.allows("packets are handled on enough cores");
            };
            let mask = mask_of(goal.shards);
            finding
                .allows(format!("{} of {} cores handle packets", grouped(card.receive_queues), grouped(goal.shards)))
                .state(State::Note)
                .command(format!("ethtool -L {} combined {}   # if the card has more queues", card.name, goal.shards))
                .command(format!(
                    "for queue in /sys/class/net/{}/queues/rx-*; do echo {mask} > $queue/rps_cpus; done",
                    card.name
                ))
        })
    }

    fn flow_steering(&self) -> Finding {
        Finding::of("nic.flow_steering", "RFS", &self.flow_entries, |entries, finding| {
            let finding = finding
                .value(if *entries == 0 { "off".to_owned() } else { format!("{} entries", grouped(*entries)) })
                .detail("net.core.rps_sock_flow_entries, and rps_flow_cnt of each queue; sysctl -w net.core.rps_sock_flow_entries=32768 turns it on");
            match entries {
                0 => finding.allows("packets stay on the core of their queue"),
                _ => finding.allows("packets go to the core of their reader"),
            }
        })
    }

    fn polling(&self) -> Finding {
        let both = self.busy_read.clone().and_then(|read| Ok((read, self.busy_poll.clone()?)));
        Finding::of("nic.busy_polling", "busy polling of sockets", &both, |(read, poll), finding| {
            let deferred = self.cards.iter().flatten().filter(|card| card.deferred > 0).map(|card| card.name.as_str());
            let deferred: Vec<&str> = deferred.collect();
            let finding = finding
                .value(if read.saturating_add(*poll) == 0 { "off".to_owned() } else { format!("read {read} µs, poll {poll} µs") })
                .detail("net.core.busy_read, net.core.busy_poll, and napi_defer_hard_irqs of each card; shards poll their rings by --busy-poll. sysctl -w net.core.busy_read=50 net.core.busy_poll=50 turns it on");
            if deferred.is_empty() {
                return finding.allows("supported, and not needed by Ringway");
            }
            finding.allows(format!("interrupts of {} are deferred for polling", deferred.join(", ")))
        })
    }
}

impl Card {
    fn read(system: &System, name: String) -> Self {
        let folder = format!("/sys/class/net/{name}");
        let queues = system.names(format!("{folder}/queues")).unwrap_or_default();
        let receive: Vec<&String> = queues.iter().filter(|queue| queue.starts_with("rx-")).take(MAX_ITEMS).collect();
        let is_set = |mask: Read<String>| mask.is_ok_and(|mask| mask.bytes().any(|byte| !matches!(byte, b'0' | b',')));
        let spreading = receive.iter().filter(|queue| is_set(system.line(format!("{folder}/queues/{queue}/rps_cpus"))));
        let interrupts = system.names(format!("{folder}/device/msi_irqs")).unwrap_or_default();
        let cores = interrupts
            .iter()
            .take(MAX_ITEMS)
            .filter_map(|number| system.line(format!("/proc/irq/{number}/effective_affinity_list")).ok());
        Self {
            is_up: system.line(format!("{folder}/operstate")).is_ok_and(|state| state == "up" || state == "unknown"),
            receive_queues: receive.len() as u64,
            spreading: spreading.count() as u64,
            interrupt_cores: cores.map(|list| list.chars().take(40).collect()).collect(),
            speed: system.number(format!("{folder}/speed")).ok(),
            deferred: system.number(format!("{folder}/napi_defer_hard_irqs")).unwrap_or(0),
            name,
        }
    }

    /// `eth0: 4, spread over cores, 10 Gbit/s`.
    fn in_words(&self) -> String {
        let mut text = format!("{}: {}", self.name, grouped(self.receive_queues));
        if self.spreading > 0 {
            text += ", spread by RPS";
        }
        if let Some(speed) = self.speed {
            text += &match speed {
                1000.. => format!(", {} Gbit/s", speed as f64 / 1e3),
                _ => format!(", {speed} Mbit/s"),
            };
        }
        text
    }

    fn interrupts(&self, goal: &Goal) -> Finding {
        let cores: Vec<&str> = self.interrupt_cores.iter().map(String::as_str).collect();
        let finding =
            Finding::good("nic.interrupts", "interrupts", format!("{}: cores {}", self.name, cores.join(" ")))
                .detail("effective_affinity_list of the interrupts of the card");
        let is_one = cores.len() == 1 && goal.shards > 1 && self.receive_queues > 1;
        if !is_one {
            return finding.allows("these cores handle its packets");
        }
        finding
            .allows("one core handles the packets of all queues")
            .state(State::Note)
            .command("systemctl start irqbalance")
    }
}

/// The mask of the first cores, in hexadecimal groups of 32 bits.
fn mask_of(cores: u64) -> String {
    let cores = cores.clamp(1, 4096);
    let mut groups = Vec::new();
    for first in (0..cores).step_by(32) {
        let bits = (cores - first).min(32);
        groups.push(format!("{:x}", u32::MAX >> (32 - bits)));
    }
    groups.reverse();
    groups.join(",")
}

/// Whether a command can contain the name of a card as it is.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@:".contains(&byte))
}
