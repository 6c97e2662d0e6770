//! Pins threads and processes to cores.

use crate::exit::Failure;
use ringway::placement::Assignment;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::process::{Child, Command};

/// Pins the calling thread, and the threads and processes that it starts afterwards, to these
/// cores.
pub(crate) fn pin_thread(place: &Assignment) -> Result<(), Failure> {
    let Some(cores) = place.list() else { return Ok(()) };
    let mut set = CpuSet::new();
    // No core is out of the set's range: the kernel's mask was read into a set of the same size.
    cores.as_slice().iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).map_err(|error| Failure(format!("cannot pin to cores {cores}: {error}")))
}

/// Starts a process that is pinned to these cores from its first instruction, with its descendants.
pub(crate) fn spawn(command: &mut Command, place: &Assignment) -> Result<Child, Failure> {
    // A process inherits the cores of the thread that starts it.
    let spawning = || {
        pin_thread(place)?;
        Ok(command.spawn()?)
    };
    std::thread::scope(|scope| scope.spawn(spawning).join()).map_err(|_| Failure("a thread panicked".into()))?
}
