//! All facts of a machine, and the goal and the checks that follow from them.

use super::arguments::DoctorArguments;
use super::cgroup::CgroupFacts;
use super::cpu::CpuFacts;
use super::descriptors::DescriptorFacts;
use super::finding::Group;
use super::goal::{Goal, MachineRole};
use super::kernel::KernelFacts;
use super::memory::{MemoryFacts, connections_in};
use super::native::Native;
use super::nic::NicFacts;
use super::ports::PortFacts;
use super::process::ProcessFacts;
use super::ring::RingFacts;
use super::system::System;
use super::tcp::TcpFacts;
use ringway::placement::{CoreSet, Cpu};

/// The facts.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) kernel: KernelFacts,
    ring: RingFacts,
    descriptors: DescriptorFacts,
    memory: MemoryFacts,
    cgroup: CgroupFacts,
    ports: PortFacts,
    tcp: TcpFacts,
    cpu: CpuFacts,
    nic: NicFacts,
    /// The threads that `serve` starts by default.
    shards: u64,
}

impl Facts {
    pub(crate) fn read(system: &System, native: &Native) -> Self {
        let process = ProcessFacts::read(system);
        let kernel = KernelFacts::read(system, &process);
        let cgroup = CgroupFacts::read(system, &process);
        let cores =
            process.cores.as_ref().map(|list| list.as_slice().iter().copied().map(Cpu::new).collect::<Vec<_>>());
        // With an unknown affinity mask the smallest machine is assumed, and the check says so.
        let set = cores.ok().and_then(|cores| CoreSet::new(&cores, cgroup.quota()).ok());
        Self {
            ring: RingFacts::read(system, native, &kernel, &process),
            descriptors: DescriptorFacts::read(system, &process),
            memory: MemoryFacts::read(system),
            ports: PortFacts::read(system),
            tcp: TcpFacts::read(system, native.page_size),
            cpu: CpuFacts::read(system, native),
            nic: NicFacts::read(system),
            shards: set.map_or(1, |set| set.threads() as u64),
            kernel,
            cgroup,
        }
    }

    /// What the machine is compared with.
    pub(crate) fn goal(&self, arguments: &DoctorArguments) -> Goal {
        self.goal_of(arguments.target, arguments.role, arguments.addresses)
    }

    pub(crate) fn goal_of(&self, target: Option<u64>, role: MachineRole, addresses: u64) -> Goal {
        let goal = Goal { target, role, addresses, shards: self.shards, memory_holds: None };
        let memory = self.memory.available().into_iter().chain(self.cgroup.memory()).min();
        Goal { memory_holds: memory.map(|bytes| connections_in(bytes, &goal)), ..goal }
    }

    /// All checks.
    pub(crate) fn check(&self, goal: &Goal) -> Vec<Group> {
        vec![
            self.kernel.check(self.ring.is_available()),
            self.ring.check(goal),
            self.descriptors.check(goal),
            self.memory.check(goal),
            self.cgroup.check(goal),
            self.ports.check(goal),
            self.tcp.check(goal),
            self.cpu.check(),
            self.nic.check(goal),
        ]
    }
}
