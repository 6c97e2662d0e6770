//! Threads and processes on the cores that they are given.

use crate::exit::Failure;
use ringway::placement::Assignment;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::process::{Child, Command};

/// Has the calling thread, and the threads and processes that it starts from now on, run on these cores alone.
pub(crate) fn pin_thread(place: &Assignment) -> Result<(), Failure> {
    let Some(cores) = place.list() else { return Ok(()) };
    let mut set = CpuSet::new();
    // Cores beyond the set's size do not come up: the kernel's mask was read into one of the same size.
    cores.as_slice().iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).map_err(|error| Failure(format!("cannot pin to cores {cores}: {error}")))
}

/// Starts a process on these cores: it has them from its first instruction, and so has all that it starts.
pub(crate) fn spawn(command: &mut Command, place: &Assignment) -> Result<Child, Failure> {
    // A process inherits the cores of the thread that starts it.
    let spawning = || {
        pin_thread(place)?;
        Ok(command.spawn()?)
    };
    std::thread::scope(|scope| scope.spawn(spawning).join()).map_err(|_| Failure("a thread panicked".into()))?
}
