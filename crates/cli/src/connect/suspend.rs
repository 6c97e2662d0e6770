//! Ctrl-Z at the prompt: the program stops with the modes that the terminal had before it, and goes on
//! with those of the line editor.

use super::terminal::TerminalModes;
use rustix::process::{Pid, getpgid, getpgrp, getppid, getsid};
use signal_hook::consts::SIGTSTP;
use signal_hook::iterator::Signals as Watch;
use signal_hook::low_level::emulate_default_handler;
use std::io;

/// The number of processes between this one and its shell that are looked at.
const MAX_PARENTS: usize = 64;

/// Watches SIGTSTP, which the terminal sends for Ctrl-Z. `resumed` is called when the program goes on.
pub(super) fn watch(modes: TerminalModes, resumed: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Watch::new([SIGTSTP])?;
    let stopping = move || {
        for signal in signals.forever() {
            if !can_be_continued() {
                continue;
            }
            modes.lend(|| {
                // Stops here, until SIGCONT.
                let _ = emulate_default_handler(signal);
            });
            resumed();
        }
    };
    std::thread::Builder::new().name("ringway-stopping".into()).spawn(stopping)?;
    Ok(())
}

/// Whether a shell can continue this process: the process group has a parent in another group of the
/// session. In an orphaned process group, as of `ssh -t HOST ringway connect URL`, the kernel ignores
/// SIGTSTP, too (POSIX, General Terminal Interface).
fn can_be_continued() -> bool {
    let (group, Ok(session)) = (getpgrp(), getsid(None)) else { return false };
    let parents = std::iter::successors(getppid(), |pid| parent_of(*pid)).take(MAX_PARENTS);
    for parent in parents {
        if getsid(Some(parent)) != Ok(session) {
            return false;
        }
        if getpgid(Some(parent)) != Ok(group) {
            return true;
        }
    }
    false
}

/// The parent of a process, by proc(5).
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name of the program can contain anything.
    let (_, behind_name) = stat.rsplit_once(')')?;
    Pid::from_raw(behind_name.split_whitespace().nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpid;

    #[test]
    fn the_parent_of_a_process_is_found() {
        assert_eq!(parent_of(getpid()), getppid());
        assert_eq!(parent_of(Pid::INIT), None);
    }
}
