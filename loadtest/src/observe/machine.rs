//! The machine on which the generator runs: processor, kernel, hypervisor, clock source and
//! frequency governor.

use serde::Serialize;
use std::fs;
use std::path::Path;

/// A description of the machine. What cannot be read is `null`, with a sentence in `missing`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MachineFigures {
    /// The model of the processor.
    pub cpu: Option<String>,
    /// The number of cores that are online.
    pub cores: Option<usize>,
    /// The release of the kernel.
    pub kernel: Option<String>,
    /// Whether it is a virtual machine. The kernel shows it on x86.
    pub virtual_machine: Option<bool>,
    /// The vendor of the machine or the hypervisor.
    pub vendor: Option<String>,
    /// The clock source of the kernel. All others than `tsc` and `arch_sys_counter` make reading
    /// the time a system call or slower.
    pub clock_source: Option<String>,
    /// The frequency governor of the first core.
    pub governor: Option<String>,
    /// Why figures are `null`.
    pub missing: Vec<String>,
}

/// Reads the description of this machine from procfs and sysfs.
#[must_use]
pub fn describe_machine() -> MachineFigures {
    describe_with(&|path| fs::read_to_string(path).ok())
}

/// The description from the files that `read` returns.
fn describe_with(read: &dyn Fn(&Path) -> Option<String>) -> MachineFigures {
    let line = |path: &str| {
        let text = read(Path::new(path))?;
        Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let info = line("/proc/cpuinfo").unwrap_or_default();
    let online = line("/sys/devices/system/cpu/online");
    let mut machine = MachineFigures {
        cpu: field(&info, "model name").map(str::to_owned),
        cores: online
            .and_then(|list| list.parse::<ringway::placement::CoreList>().ok())
            .map(|list| list.as_slice().len()),
        kernel: line("/proc/sys/kernel/osrelease"),
        virtual_machine: field(&info, "flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        vendor: line("/sys/class/dmi/id/sys_vendor").or_else(|| line("/sys/hypervisor/type")),
        clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        missing: Vec::new(),
    };
    let sources = [
        (machine.cpu.is_none(), "the processor's model: /proc/cpuinfo has no line `model name`"),
        (machine.cores.is_none(), "the number of cores: /sys/devices/system/cpu/online cannot be read"),
        (machine.kernel.is_none(), "the kernel's release: /proc/sys/kernel/osrelease cannot be read"),
        (machine.virtual_machine.is_none(), "whether this is a virtual machine: /proc/cpuinfo has no line `flags`"),
        (machine.clock_source.is_none(), "the clock source: /sys/devices/system/clocksource cannot be read"),
        (machine.governor.is_none(), "the frequency governor: cpu0 has no directory cpufreq in sysfs"),
    ];
    machine.missing =
        sources.into_iter().filter(|(is_missing, _)| *is_missing).map(|(_, why)| why.to_owned()).collect();
    machine
}

/// The value of the first line of `/proc/cpuinfo` with this key.
fn field<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu vme hypervisor lahf\n\n\
                        processor\t: 1\nmodel name\t: Other\n";

    #[test]
    fn what_is_readable_is_described() {
        let machine = describe_with(&|path| match path.to_str()? {
            "/proc/cpuinfo" => Some(INFO.into()),
            "/sys/devices/system/cpu/online" => Some("0-3\n".into()),
            "/proc/sys/kernel/osrelease" => Some("6.18.0\n".into()),
            "/sys/hypervisor/type" => Some("xen\n".into()),
            "/sys/devices/system/clocksource/clocksource0/current_clocksource" => Some("tsc\n".into()),
            "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor" => Some("powersave\n".into()),
            _ => None,
        });
        let some = |text: &str| Some(text.to_owned());
        let expected = MachineFigures {
            cpu: some("Some CPU @ 2 GHz"),
            cores: Some(4),
            kernel: some("6.18.0"),
            virtual_machine: Some(true),
            vendor: some("xen"),
            clock_source: some("tsc"),
            governor: some("powersave"),
            missing: Vec::new(),
        };
        assert_eq!(machine, expected);
    }

    #[test]
    fn what_is_not_readable_is_null_and_has_a_reason() {
        let machine = describe_with(&|_| None);
        assert_eq!(MachineFigures { missing: Vec::new(), ..machine.clone() }, MachineFigures::default());
        assert_eq!(machine.missing.len(), 6, "{:?}", machine.missing);
        // Arm has neither line.
        let arm = describe_with(&|path| path.ends_with("cpuinfo").then(|| "processor\t: 0\nBogoMIPS\t: 50\n".into()));
        assert_eq!((arm.cpu, arm.virtual_machine), (None, None));
    }

    #[test]
    fn this_machine_has_a_kernel() {
        assert!(describe_machine().kernel.is_some());
    }
}
