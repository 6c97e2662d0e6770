//! Processor: cores, instruction sets, frequency, clock, and what a hypervisor takes.

use super::finding::{Finding, Group, State, counted, grouped};
use super::native::Native;
use super::system::{Read, System, excerpt, field};
use ringway::placement::CoreList;
use std::collections::BTreeMap;

/// The share of the time since boot from which on stolen time is reported.
const STEAL: f64 = 0.02;

/// The maximum number of cores whose files are read.
const MAX_CORES: usize = 4096;

#[derive(Clone, Debug)]
pub(crate) struct CpuFacts {
    model: Read<String>,
    /// The instruction sets of the processor that matter for masking.
    flags: Read<Vec<String>>,
    simd: &'static str,
    simd_width: usize,
    /// The governors, with the number of cores of each.
    governors: Read<BTreeMap<String, usize>>,
    scaling_driver: Read<String>,
    /// The frequency of core 0 now, and its highest if the kernel shows it, in kHz.
    frequency: Read<(u64, Option<u64>)>,
    turbo: Option<Read<bool>>,
    clock: Read<String>,
    is_virtual: Read<bool>,
    vendor: Option<String>,
    /// The ticks stolen since boot, and all ticks.
    steal: Read<(u64, u64)>,
    nodes: Read<CoreList>,
}

impl CpuFacts {
    pub(crate) fn read(system: &System, native: &Native) -> Self {
        const CPUFREQ: &str = "/sys/devices/system/cpu/cpu0/cpufreq";
        let info = system.text("/proc/cpuinfo");
        let flags = info.clone().and_then(|info| {
            let flags = field(&info, "flags").or_else(|| field(&info, "Features"));
            let flags = flags.ok_or_else(|| "/proc/cpuinfo has no line flags or Features".to_owned())?;
            Ok(flags.split_whitespace().take(1024).map(str::to_owned).collect::<Vec<_>>())
        });
        let is_virtual = flags.clone().and_then(|flags| {
            let has = |name: &str| flags.iter().any(|flag| flag == name);
            match (has("hypervisor"), has("sse2")) {
                (true, _) => Ok(true),
                (false, true) => Ok(false),
                (false, false) => Err("only processors of x86 have a flag for it".to_owned()),
            }
        });
        let turbo = match system.line("/sys/devices/system/cpu/intel_pstate/no_turbo") {
            Ok(off) => Some(Ok(off != "1")),
            Err(_) if system.has("/sys/devices/system/cpu/cpufreq/boost") => {
                Some(system.line("/sys/devices/system/cpu/cpufreq/boost").map(|on| on == "1"))
            }
            Err(_) => None,
        };
        Self {
            model: info.clone().and_then(|info| model(&info)),
            is_virtual,
            flags,
            simd: native.simd,
            simd_width: native.simd_width,
            governors: governors(system),
            scaling_driver: system.line(format!("{CPUFREQ}/scaling_driver")),
            frequency: match system.number(format!("{CPUFREQ}/scaling_cur_freq")) {
                Ok(now) => Ok((now, system.number(format!("{CPUFREQ}/cpuinfo_max_freq")).ok())),
                Err(why) => {
                    info.as_ref().ok().and_then(|info| stated_frequency(info)).map(|khz| (khz, None)).ok_or(why)
                }
            },
            turbo,
            clock: system.line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            vendor: system.line("/sys/class/dmi/id/sys_vendor").or_else(|_| system.line("/sys/hypervisor/type")).ok(),
            steal: system.text("/proc/stat").and_then(|stat| stolen(&stat)),
            nodes: system
                .line("/sys/devices/system/node/online")
                .and_then(|text| text.parse().map_err(|error| format!("/sys/devices/system/node/online: {error}"))),
        }
    }

    pub(crate) fn check(&self) -> Group {
        let mut findings = vec![self.model(), self.simd(), self.governor(), self.frequency()];
        findings.extend(self.turbo());
        findings.extend([self.clock(), self.hypervisor(), self.steal(), self.nodes()]);
        Group { name: "processor", findings }
    }

    fn model(&self) -> Finding {
        Finding::of("cpu.model", "model", &self.model, |model, finding| {
            finding.value(model.clone()).allows(std::env::consts::ARCH).detail("/proc/cpuinfo")
        })
    }

    fn simd(&self) -> Finding {
        Finding::of("cpu.simd", "vector instructions", &self.flags, |flags, finding| {
            let has = |name: &str| flags.iter().any(|flag| flag == name);
            let known = ["sse2", "avx2", "avx512f", "avx512_vbmi2", "asimd"];
            let known: Vec<&str> = known.into_iter().filter(|name| has(name)).collect();
            let finding = finding
                .value(self.simd)
                .allows(format!("messages are unmasked {} at a time", counted(self.simd_width as u64, "byte", "bytes")))
                .detail(format!(
                    "the processor has {}",
                    if known.is_empty() { "none of those known".into() } else { known.join(", ") }
                ));
            if self.simd == "portable" {
                return finding
                    .state(State::Note)
                    .command("build Ringway for a target with vector instructions: x86_64 or aarch64 with neon");
            }
            if self.simd == "sse2" && has("avx2") {
                return finding.state(State::Note).command("let the hypervisor pass AVX2 on to this machine");
            }
            finding
        })
    }

    fn governor(&self) -> Finding {
        let (id, title) = ("cpu.governor", "frequency governor");
        if self.governors.is_err() && matches!(self.is_virtual, Ok(true)) {
            return Finding::good(id, title, "none")
                .allows("the host sets the frequency")
                .detail("cpu0 has no directory cpufreq, as in virtual machines");
        }
        Finding::of(id, title, &self.governors, |governors, finding| {
            let names: Vec<String> = match governors.len() {
                1 => governors.keys().cloned().collect(),
                _ => governors
                    .iter()
                    .map(|(name, count)| format!("{name} on {}", counted(*count as u64, "core", "cores")))
                    .collect(),
            };
            let driver = self.scaling_driver.as_deref().unwrap_or("unknown");
            let finding =
                finding.value(names.join(", ")).detail(format!("scaling_governor of each core; driver {driver}"));
            let is_slow = governors.keys().any(|name| name != "performance");
            if !is_slow {
                return finding.allows("cores run at their highest frequency");
            }
            finding
                .allows("idle cores become slower, and figures vary")
                .state(State::Note)
                .command("cpupower frequency-set -g performance")
        })
    }

    fn frequency(&self) -> Finding {
        Finding::of("cpu.frequency", "frequency", &self.frequency, |(now, max), finding| {
            let ghz = |khz: u64| format!("{:.2} GHz", khz as f64 / 1e6);
            match max {
                Some(max) => finding
                    .value(format!("{} of {}", ghz(*now), ghz(*max)))
                    .allows("core 0 now, and at most")
                    .detail("scaling_cur_freq and cpuinfo_max_freq"),
                None => finding.value(ghz(*now)).allows("of core 0; its maximum is not shown").detail(
                    "cpu MHz of /proc/cpuinfo, as cpu0 has no directory cpufreq; in virtual machines often a constant",
                ),
            }
        })
    }

    fn turbo(&self) -> Option<Finding> {
        let turbo = self.turbo.as_ref()?;
        Some(Finding::of("cpu.turbo", "turbo", turbo, |is_on, finding| {
            let finding = finding.detail("intel_pstate/no_turbo or cpufreq/boost");
            match is_on {
                true => finding.value("on").allows("faster for a while; figures vary with the heat"),
                false => finding.value("off").allows("a constant frequency, lower than with it"),
            }
        }))
    }

    fn clock(&self) -> Finding {
        Finding::of("cpu.clock", "clock source", &self.clock, |clock, finding| {
            let finding = finding.value(clock.clone()).detail("current_clocksource of clocksource0");
            match clock.as_str() {
                "tsc" | "arch_sys_counter" | "kvm-clock" | "hyperv_clocksource_tsc_page" => {
                    finding.allows("the time takes no system call")
                }
                _ => finding
                    .allows("the time is a system call, for each turn")
                    .state(State::Note)
                    .command("echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource"),
            }
        })
    }

    fn hypervisor(&self) -> Finding {
        Finding::of("cpu.hypervisor", "virtual machine", &self.is_virtual, |is_virtual, finding| {
            let finding = finding.detail("the flag hypervisor of /proc/cpuinfo, and the vendor of the machine");
            let vendor = self.vendor.as_deref().map(|vendor| format!(" ({})", excerpt(vendor)));
            match is_virtual {
                true => finding
                    .value(format!("yes{}", vendor.unwrap_or_default()))
                    .allows("wake-ups take longer, by the hypervisor"),
                false => finding.value("no").allows("no hypervisor takes time"),
            }
        })
    }

    fn steal(&self) -> Finding {
        Finding::of("cpu.steal", "stolen time", &self.steal, |(stolen, all), finding| {
            let share = *stolen as f64 / (*all).max(1) as f64;
            let finding = finding
                .value(format!("{:.1} %", share * 100.0))
                .detail("the column steal of /proc/stat since boot; load reports that of a run")
                .state_if(share > STEAL, State::Note);
            if share <= STEAL {
                return finding.allows("the cores ran when they were needed");
            }
            finding
                .allows("the hypervisor ran others meanwhile")
                .command("use a machine with dedicated cores for steady latency")
        })
    }

    fn nodes(&self) -> Finding {
        Finding::of("cpu.nodes", "NUMA nodes", &self.nodes, |nodes, finding| {
            let count = nodes.as_slice().len() as u64;
            let finding = finding.value(grouped(count)).detail("/sys/devices/system/node/online");
            match count {
                1 => finding.allows("all memory is equally near"),
                _ => finding.allows("pinned shards use the memory of their node"),
            }
        })
    }
}

/// The frequency that `/proc/cpuinfo` has on x86, in kHz.
fn stated_frequency(info: &str) -> Option<u64> {
    let megahertz: f64 = field(info, "cpu MHz")?.parse().ok()?;
    // Beyond it, the number is not one of a processor.
    (1.0..1e6).contains(&megahertz).then_some((megahertz * 1e3) as u64)
}

/// The name of the processor; Arm has a number instead.
fn model(info: &str) -> Read<String> {
    let found = field(info, "model name").map(str::to_owned).or_else(|| {
        Some(format!("implementer {}, part {}", field(info, "CPU implementer")?, field(info, "CPU part")?))
    });
    let found = found.filter(|name| !name.is_empty());
    found.ok_or_else(|| "/proc/cpuinfo has no line “model name” or “CPU part”".to_owned())
}

fn governors(system: &System) -> Read<BTreeMap<String, usize>> {
    let cpus = system.names("/sys/devices/system/cpu")?;
    let cores = cpus.iter().filter(|name| {
        name.strip_prefix("cpu").is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let mut governors = BTreeMap::new();
    let mut failed = None;
    for core in cores.take(MAX_CORES) {
        match system.line(format!("/sys/devices/system/cpu/{core}/cpufreq/scaling_governor")) {
            Ok(name) => *governors.entry(name.chars().take(40).collect()).or_insert(0) += 1,
            Err(why) => failed = failed.or(Some(why)),
        }
    }
    match failed {
        Some(why) if governors.is_empty() => Err(why),
        None if governors.is_empty() => Err("/sys/devices/system/cpu has no cores".to_owned()),
        _ => Ok(governors),
    }
}

/// The stolen ticks of all cores, and all ticks: `cpu user nice system idle iowait irq softirq
/// steal …`. Guest time is part of the user's.
fn stolen(stat: &str) -> Read<(u64, u64)> {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let ticks: Option<Vec<u64>> =
        line.map(|line| line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect());
    match ticks.as_deref() {
        Some(ticks @ [.., stolen]) if ticks.len() == 8 => {
            Ok((*stolen, ticks.iter().fold(0, |sum, ticks| sum.saturating_add(*ticks))))
        }
        _ => Err("the first line of /proc/stat has no column steal".to_owned()),
    }
}
