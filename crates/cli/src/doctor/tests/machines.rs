//! One machine after the other: what each check finds.

use super::machine::{Machine, find};
use crate::doctor::finding::State;
use crate::doctor::goal::MachineRole;
use crate::doctor::summary::Summary;
use ringway_io::uring::LikelyCause;

#[test]
fn a_server_has_a_first_limit_and_nothing_is_short() {
    let (goal, groups) = Machine::server().check(None, MachineRole::Server, 1);
    let summary = Summary::of(&groups);
    assert_eq!((summary.short.len(), summary.unknown), (0, 0), "{groups:#?}");
    let first = summary.first.as_ref().expect("there are limits");
    assert_eq!(first.finding.id, "tcp.tracking");
    assert_eq!(goal.shards, 4);
    let line = summary.headline(&goal);
    assert_eq!(
        line,
        "This machine can serve about 262 000 connections; the first limit: TCP, nf_conntrack_max (262 144)."
    );
    let range = find(&groups, "ports.range");
    assert_eq!(range.allows, "28 232 connections from one address");
}

#[test]
fn a_target_above_the_limits_is_short_of_each_of_them() {
    let (goal, groups) = Machine::server().check(Some(1_000_000), MachineRole::Server, 1);
    let summary = Summary::of(&groups);
    let short: Vec<&str> = summary.short.iter().map(|finding| finding.id).collect();
    assert_eq!(short, ["descriptors.hard", "tcp.memory", "tcp.tracking"]);
    assert!(
        summary.headline(&goal).starts_with("This machine is not ready to serve 1 000 000 connections: 3 checks are")
    );
    let (_, groups) = Machine::server().check(Some(10_000), MachineRole::Server, 1);
    assert!(!Summary::of(&groups).is_short());
}

#[test]
fn a_client_needs_ports_and_more_addresses_than_there_are_ports() {
    let range = |target, addresses| {
        let (_, groups) = Machine::server().check(Some(target), MachineRole::Client, addresses);
        find(&groups, "ports.range").clone()
    };
    assert_eq!(range(28_232, 1).state, State::Good);
    assert_eq!(range(56_464, 2).state, State::Good);
    let more = range(40_000, 1);
    assert_eq!(more.state, State::Short);
    assert_eq!(more.commands, ["sysctl -w net.ipv4.ip_local_port_range=\"25536 65535\""]);
    let many = range(200_000, 1);
    assert_eq!(many.commands.len(), 2);
    assert!(many.commands[1].contains("--source-ip 127.0.0.2-127.0.0.5") && many.commands[1].contains("4 addresses"));
}

#[test]
fn a_refusal_of_io_uring_has_its_cause() {
    for (cause, word) in [
        (LikelyCause::Seccomp, "seccomp"),
        (LikelyCause::Sysctl(2), "kernel.io_uring_disabled = 2"),
        (LikelyCause::Kernel(5, 4), "5.4"),
        (LikelyCause::LockedMemory, "locked"),
        (LikelyCause::Unknown, "unknown"),
    ] {
        let finding = Machine::server().refused(cause).finding("ring.support");
        assert_eq!(finding.state, State::Short);
        assert!(finding.value.contains(word) && !finding.commands.is_empty(), "{finding:?}");
    }
}

#[test]
fn without_any_file_everything_is_unknown_with_a_reason() {
    let mut machine = Machine::server();
    machine.files.clear();
    let (goal, groups) = machine.check(Some(1_000_000), MachineRole::Both, 1);
    let summary = Summary::of(&groups);
    assert!(!summary.is_short() && summary.unknown > 30, "{groups:#?}");
    for finding in groups.iter().flat_map(|group| &group.findings).filter(|finding| finding.state == State::Unknown) {
        let says = &finding.allows;
        assert!(says.contains("/proc/") || says.contains("/sys/"), "{finding:?}");
    }
    assert!(summary.headline(&goal).contains("as far as its limits are known"));
    let (goal, groups) = machine.check(None, MachineRole::Server, 1);
    assert!(Summary::of(&groups).headline(&goal).starts_with("No limit of this machine"));
}

#[test]
fn a_container_without_sysfs_says_what_it_cannot_read() {
    let machine = Machine::server().without("/sys");
    for id in
        ["cgroup.memory", "cgroup.cpu", "cpu.clock", "cpu.governor", "cpu.nodes", "memory.huge_pages", "nic.queues"]
    {
        let finding = machine.finding(id);
        assert_eq!((finding.state, finding.value.as_str()), (State::Unknown, "unknown"), "{finding:?}");
    }
    assert_eq!(machine.finding("cgroup.cpuset").state, State::Good, "procfs has the cores");
    assert_eq!(machine.finding("descriptors.hard").state, State::Note);
}

#[test]
fn limits_of_both_versions_of_cgroups_are_found() {
    const OWN: &str = "/sys/fs/cgroup/system.slice/ringway.service";
    let two = Machine::server()
        .with(&format!("{OWN}/memory.max"), "536870912\n")
        .with(&format!("{OWN}/cpu.max"), "150000 100000\n")
        .with(&format!("{OWN}/pids.max"), "4\n");
    let one = Machine::server()
        .without("/sys/fs/cgroup")
        .with("/proc/self/cgroup", "5:memory:/app\n4:cpu,cpuacct:/app\n3:pids:/app\n")
        .with(
            "/proc/self/mountinfo",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw shared:11 - cgroup cgroup rw,cpu,cpuacct\n\
             33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             34 31 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
        )
        .with("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "536870912\n")
        .with("/sys/fs/cgroup/cpu/app/cpu.cfs_quota_us", "150000\n")
        .with("/sys/fs/cgroup/cpu/app/cpu.cfs_period_us", "100000\n")
        .with("/sys/fs/cgroup/pids/app/pids.max", "4\n");
    for (machine, version) in [(two, "of version 2"), (one.clone(), "of version 1")] {
        let (goal, groups) = machine.check(Some(200_000), MachineRole::Server, 1);
        assert_eq!(goal.shards, 1, "the quota has one whole CPU");
        assert_eq!(find(&groups, "cgroup.own").allows, version);
        let memory = find(&groups, "cgroup.memory");
        assert_eq!((memory.state, memory.value.as_str()), (State::Short, "512 MiB"));
        assert_eq!(memory.connections, Some(536_870_912 / 100 * 90 / goal.bytes_per_connection()));
        let quota = find(&groups, "cgroup.cpu");
        assert_eq!((quota.state, quota.value.as_str()), (State::Note, "1.50 CPUs"));
        assert_eq!(find(&groups, "cgroup.tasks").state, State::Short);
    }
    // No limit is a number near 2⁶³ in version 1.
    let none = one.with("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n");
    let none = none.with("/sys/fs/cgroup/memory/app/cgroup.procs", "1\n");
    assert_eq!(none.finding("cgroup.memory").value, "none");
}

#[test]
fn a_laptop_saves_power() {
    const GOVERNOR: &str = "cpufreq/scaling_governor";
    let laptop = Machine::server()
        .with(&format!("/sys/devices/system/cpu/cpu0/{GOVERNOR}"), "powersave\n")
        .with("/sys/devices/system/cpu/intel_pstate/no_turbo", "1\n");
    let finding = laptop.finding("cpu.governor");
    assert_eq!(finding.state, State::Note);
    assert_eq!(finding.value, "performance on 1 core, powersave on 1 core");
    assert_eq!(finding.commands, ["cpupower frequency-set -g performance"]);
    assert_eq!(laptop.finding("cpu.turbo").value, "off");
    assert_eq!(laptop.finding("cpu.frequency").value, "2.10 GHz of 3.50 GHz");
    // A virtual machine has no governor, and needs none.
    let stated = |text: &str| {
        let info = format!("model name\t: Some CPU\ncpu MHz\t\t: {text}\nflags\t\t: fpu sse2\n");
        Machine::server().without("/sys/devices/system/cpu/cpu0/cpufreq").with("/proc/cpuinfo", &info)
    };
    assert_eq!(stated("2445.424").finding("cpu.frequency").value, "2.45 GHz");
    for nonsense in ["", "-1", "NaN", "1e30", "fast"] {
        assert_eq!(stated(nonsense).finding("cpu.frequency").state, State::Unknown, "{nonsense}");
    }
    let virtual_machine =
        laptop.without("/sys/devices/system/cpu/cpu0/cpufreq").without("/sys/devices/system/cpu/cpu1");
    assert_eq!(virtual_machine.finding("cpu.governor").state, State::Unknown);
    let virtual_machine = virtual_machine.replaced("/proc/cpuinfo", "fpu", "hypervisor");
    assert_eq!(virtual_machine.finding("cpu.governor").state, State::Good);
    assert_eq!(virtual_machine.finding("cpu.hypervisor").value, "yes (“Some Vendor”)");
}

#[test]
fn time_that_a_hypervisor_takes_is_noted() {
    let machine = Machine::server().with("/proc/stat", "cpu  100 0 50 750 0 0 0 100 0 0\n");
    let finding = machine.finding("cpu.steal");
    assert_eq!((finding.state, finding.value.as_str()), (State::Note, "10.0 %"));
    assert_eq!(Machine::server().finding("cpu.steal").state, State::Good);
    assert_eq!(Machine::server().with("/proc/stat", "cpu 1 2 3\n").finding("cpu.steal").state, State::Unknown);
}

#[test]
fn an_arm_machine_has_another_cpuinfo() {
    let mut arm = Machine::server().with(
        "/proc/cpuinfo",
        "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd aes\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n",
    );
    arm.native.simd = "neon";
    arm.native.simd_width = 16;
    let arm = arm.with("/sys/devices/system/clocksource/clocksource0/current_clocksource", "arch_sys_counter\n");
    assert_eq!(arm.finding("cpu.model").value, "implementer 0x41, part 0xd40");
    assert_eq!(arm.finding("cpu.simd").allows, "messages are unmasked 16 bytes at a time");
    assert_eq!(arm.finding("cpu.clock").state, State::Good);
    assert_eq!(arm.finding("cpu.hypervisor").state, State::Unknown, "only x86 has a flag for it");
}

#[test]
fn several_nodes_and_few_queues_are_reported() {
    let machine = Machine::server()
        .with("/sys/devices/system/node/online", "0-1\n")
        .without("/sys/class/net/eth0/queues/rx-2")
        .without("/sys/class/net/eth0/queues/rx-3");
    assert_eq!(machine.finding("cpu.nodes").value, "2");
    let queues = machine.finding("nic.queues");
    assert_eq!((queues.state, queues.value.as_str()), (State::Note, "eth0: 2, 10 Gbit/s"));
    assert_eq!(queues.commands[0], "ethtool -L eth0 combined 4   # if the card has more queues");
    assert!(queues.commands[1].contains("echo f > $queue/rps_cpus"), "{queues:?}");
    // With RPS the packets of a queue are handled on several cores.
    let spread = machine.with("/sys/class/net/eth0/queues/rx-0/rps_cpus", "f\n");
    assert_eq!(spread.finding("nic.queues").state, State::Good);
    let one_core = Machine::server().with("/proc/irq/41/effective_affinity_list", "0\n");
    assert_eq!(one_core.finding("nic.interrupts").state, State::Note);
    assert_eq!(Machine::server().finding("nic.interrupts").value, "eth0: cores 0 1");
    // A name that a shell would run is in no command.
    let hostile = machine_with_card("eth0;reboot");
    assert!(!format!("{:?}", hostile.finding("nic.queues")).contains("reboot"));
}

fn machine_with_card(name: &str) -> Machine {
    Machine::server()
        .with(&format!("/sys/class/net/{name}/device/vendor"), "0\n")
        .with(&format!("/sys/class/net/{name}/operstate"), "up\n")
        .with(&format!("/sys/class/net/{name}/queues/rx-0/rps_cpus"), "0\n")
}

#[test]
fn the_sysctl_of_io_uring_is_judged_by_its_value() {
    const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
    let of = |value: &str| Machine::server().with(SYSCTL, value);
    assert_eq!(of("1").finding("ring.sysctl").state, State::Good, "this process may use it");
    let refused = of("1").refused(LikelyCause::Sysctl(1)).finding("ring.sysctl");
    assert!(refused.state == State::Short && refused.allows.contains("CAP_SYS_ADMIN"), "{refused:?}");
    let group = of("1").with("/proc/sys/kernel/io_uring_group", "977").refused(LikelyCause::Sysctl(1));
    assert!(group.finding("ring.sysctl").allows.contains("group 977"));
    assert_eq!(of("2").refused(LikelyCause::Sysctl(2)).finding("ring.sysctl").state, State::Short);
    // The sysctl is one of Linux 6.6 and newer.
    let absent = Machine::server().without(SYSCTL);
    assert_eq!(absent.finding("ring.sysctl").state, State::Unknown);
    let old = absent.with("/proc/sys/kernel/osrelease", "5.15.0\n");
    assert_eq!(old.finding("ring.sysctl").state, State::Good);
}

#[test]
fn rings_need_locked_memory_where_the_kernel_counts_it() {
    let small = |release: &str, capabilities: &str| {
        Machine::server()
            .with("/proc/sys/kernel/osrelease", release)
            .replaced("/proc/self/limits", "8388608              8388608", "65536                65536  ")
            .replaced("/proc/self/status", "CapEff:\t0000000000000000", &format!("CapEff:\t{capabilities}"))
            .finding("ring.locked_memory")
    };
    let counted = small("6.18.0\n", "0000000000000000");
    assert_eq!((counted.state, counted.value.as_str()), (State::Short, "64.0 KiB"));
    let needed = (4 * 35 + 3) * 4096;
    assert_eq!(counted.commands[0], format!("LimitMEMLOCK={needed}   # in the unit of a service"));
    assert_eq!(small("6.8.0\n", "0000000000000000").state, State::Good, "not counted by this kernel");
    assert_eq!(small("6.18.0\n", "0000000000004000").state, State::Good, "CAP_IPC_LOCK");
}

#[test]
fn epoll_is_limited_by_its_watches() {
    let machine = Machine::server().refused(LikelyCause::Seccomp).with("/proc/sys/fs/epoll/max_user_watches", "1000\n");
    let finding = machine.finding_for(2000, "ring.epoll_watches");
    assert_eq!((finding.state, finding.connections), (State::Short, Some(1000)));
    let ids = Machine::server().check(None, MachineRole::Server, 1).1;
    assert!(!format!("{ids:?}").contains("epoll_watches"), "io_uring has no such limit");
}

#[test]
fn reserved_ports_are_not_used_for_connections() {
    let reserved = Machine::server().with("/proc/sys/net/ipv4/ip_local_reserved_ports", "40000-40009,40005-40019,80\n");
    assert_eq!(reserved.finding("ports.range").allows, "28 212 connections from one address");
    assert_eq!(reserved.finding("ports.reserved").value, "21");
    let wrong = Machine::server().with("/proc/sys/net/ipv4/ip_local_reserved_ports", "9-5\n");
    assert_eq!(wrong.finding("ports.reserved").state, State::Unknown);
}

#[test]
fn dropped_packets_are_counted_over_all_cores() {
    let dropped = |stat: &str| Machine::server().with("/proc/net/softnet_stat", stat).finding("tcp.device_backlog");
    let found = dropped("0058e771 00000620 00000001\n003c6ff0 00000001 0\n");
    assert_eq!((found.state, found.allows.as_str()), (State::Note, "1 569 packets were dropped since boot"));
    assert_eq!(found.commands, ["sysctl -w net.core.netdev_max_backlog=4000"]);
    assert_eq!(dropped("0 0\n0 0\n").state, State::Good);
    for garbage in ["x", "0", "1 zz\n", "\n"] {
        assert_eq!(dropped(garbage).state, State::Unknown, "{garbage:?}");
    }
}

#[test]
fn each_role_has_the_files_of_its_program() {
    let needed = |role| {
        let (_, groups) = Machine::server().check(Some(1_000_000), role, 20);
        find(&groups, "descriptors.hard").needed.clone()
    };
    assert_eq!(needed(MachineRole::Server).as_deref(), Some("1 000 060"));
    assert_eq!(needed(MachineRole::Client).as_deref(), Some("1 000 064"));
    assert_eq!(needed(MachineRole::Both).as_deref(), Some("1 000 064"));
}

#[test]
fn a_table_of_tracked_connections_that_nothing_uses_is_a_note() {
    let unused = Machine::server().with("/proc/sys/net/netfilter/nf_conntrack_count", "0\n");
    let finding = unused.finding_for(1_000_000, "tcp.tracking");
    assert_eq!((finding.state, finding.connections), (State::Note, None), "{finding:?}");
    assert_eq!(finding.allows, "no connection is tracked now; it limits if a rule tracks them");
    let used = Machine::server().finding_for(1_000_000, "tcp.tracking");
    assert_eq!((used.state, used.connections), (State::Short, Some(262_144 - 88)));
    assert_eq!(finding.commands, ["sysctl -w net.netfilter.nf_conntrack_max=1050000"]);
}

#[test]
fn the_limit_of_hard_limits_is_raised_first() {
    let commands = |target| Machine::server().finding_for(target, "descriptors.hard").commands;
    assert!(commands(2_000_000)[0].starts_with("sysctl -w fs.nr_open=2000060   # first"), "{:?}", commands(2_000_000));
    assert!(commands(1_000_000).iter().all(|command| !command.contains("nr_open")));
}

#[test]
fn an_old_kernel_is_short_only_where_io_uring_does_not_work() {
    let old = |release: &str| Machine::server().with("/proc/sys/kernel/osrelease", release);
    for release in ["5.14.0-503.el9.x86_64\n", "6.0.9\n"] {
        assert_eq!(old(release).finding("kernel.version").state, State::Note, "{release}");
        assert!(!Summary::of(&old(release).check(Some(100), MachineRole::Server, 1).1).is_short(), "{release}");
    }
    let refused = old("5.15.0\n").refused(LikelyCause::Kernel(5, 15)).finding("kernel.version");
    assert_eq!((refused.state, refused.allows.as_str()), (State::Short, "epoll, or serve --driver tokio-uring"));
    let refused = old("5.4.0\n").refused(LikelyCause::Kernel(5, 4)).finding("kernel.version");
    assert_eq!((refused.state, refused.allows.as_str()), (State::Short, "epoll instead of io_uring"));
}
