//! Processes that are measured from outside: a process and all that it has started, their memory, and the CPU time
//! that they use between two instants.

use crate::server::{ObservedServer, ServerUse};
use procfs::process::all_processes;
use std::collections::{HashMap, HashSet};
use std::io::{self, Error};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

/// When the measured part of a run begins and when it ends, by its timetable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    /// The beginning.
    pub begin: Instant,
    /// The end.
    pub end: Instant,
}

/// A process, its descendants, and the members of the process group that it leads. Only the process itself where the
/// others cannot be listed. Processes that have ended and are not waited for yet are left out. Reads one file for each
/// process of the system.
#[must_use]
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut found = vec![root as i32];
    let stats = all_processes().into_iter().flatten().flatten().filter_map(|process| process.stat().ok());
    for stat in stats.filter(|stat| stat.state != 'Z') {
        children.entry(stat.ppid).or_default().push(stat.pid);
        // A process whose parent has ended belongs to another parent, and still to its group.
        if stat.pgrp == root as i32 {
            found.push(stat.pid);
        }
    }
    let mut seen = HashSet::new();
    let mut pids = Vec::new();
    while let Some(pid) = found.pop() {
        if seen.insert(pid) {
            pids.push(pid.unsigned_abs());
            found.extend(children.get(&pid).into_iter().flatten());
        }
    }
    pids.sort_unstable();
    pids
}

/// The memory of processes in bytes: the sum of their proportional set sizes (`Pss` of `smaps_rollup`). A page that
/// several processes share counts once over all of them, so that forked workers are not counted several times. Memory of
/// the kernel, such as that of sockets, is not in it. Processes that have ended are left out.
///
/// # Errors
/// When none of them can be read.
pub fn memory(pids: &[u32]) -> io::Result<u64> {
    let rollup = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let (read, failed): (Vec<_>, Vec<_>) = pids.iter().map(rollup).partition(Result::is_ok);
    if read.is_empty() {
        return Err(failed.into_iter().find_map(Result::err).unwrap_or_else(|| Error::other("no process to read")));
    }
    Ok(read.into_iter().flatten().map(|text| pss(&text)).sum())
}

/// The `Pss` of a `smaps_rollup`, in bytes.
fn pss(rollup: &str) -> u64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The CPU time that processes have used so far, in seconds, summed over their threads. That of threads that have
/// ended is not in it.
#[must_use]
pub fn cpu_seconds(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| crate::server::cpu_time(*pid).ok()).map(|time| time.as_secs_f64()).sum()
}

/// Waits for the edges of a window, sleeps until each of them, and returns what the process `root` and all that it has
/// started used in between. `None` when the sender of the edges goes before the window is over, or the processes are
/// gone. A process that starts within the window counts from its start.
///
/// The calling thread sleeps but for a few reads of `/proc` at each edge: it belongs on the cores of the generator, so
/// that the server is not disturbed. The kernel updates the time of a thread that is running at each timer tick, so
/// the figure of one window has an error of up to one tick (4 ms at 250 Hz) in either direction, and none on average.
#[must_use]
pub fn watch(root: u32, edges: &Receiver<Edges>) -> Option<ServerUse> {
    let window = edges.recv().ok()?;
    let server = ObservedServer::of(tree(root));
    sleep_until(window.begin, edges)?;
    let begin = server.clocks();
    sleep_until(window.end, edges)?;
    let mut end = server.clocks();
    end.merge(ObservedServer::of(tree(root).into_iter().filter(|pid| !server.has(*pid)).collect()).clocks());
    (!begin.is_empty()).then(|| end.since(&begin))
}

/// Sleeps until `at`; `None` when the sender goes before that.
fn sleep_until(at: Instant, sender: &Receiver<Edges>) -> Option<()> {
    loop {
        match sender.recv_timeout(at.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => return Some(()),
            // A run that is over drops it at its end, which may be seen before the timeout is.
            Err(RecvTimeoutError::Disconnected) => return (Instant::now() >= at).then_some(()),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc;
    use std::time::Duration;

    /// A shell in a group of its own that runs `script`, and the first line it writes.
    fn shell(script: &str) -> (Child, String) {
        let mut shell = Command::new("sh");
        let spawned = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn();
        let mut child = spawned.expect("a shell");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("UTF-8");
        (child, line.trim().to_owned())
    }

    #[test]
    fn children_and_grandchildren_belong_to_the_tree() {
        let (mut child, grandchild) = shell("sh -c 'cat <&3 >/dev/null & echo $!; wait' 3<&0; true");
        let pids = tree(child.id());
        drop(child.stdin.take());
        child.wait().expect("it ends");
        assert!(pids.contains(&child.id()), "{pids:?}");
        assert!(pids.contains(&grandchild.parse().expect("a number")), "{pids:?} {grandchild}");
        assert!(!pids.contains(&std::process::id()));
    }

    #[test]
    fn an_orphan_of_the_group_belongs_to_the_tree() {
        // The shell in between ends at once, so that the reader is an orphan.
        let (mut child, orphan) = shell("sh -c 'cat <&3 >/dev/null & echo $!' 3<&0; read x");
        let pids = tree(child.id());
        drop(child.stdin.take());
        child.wait().expect("it ends");
        assert!(pids.contains(&orphan.parse().expect("a number")), "{pids:?} {orphan}");
    }

    #[test]
    fn memory_is_read_from_the_rollup() {
        assert_eq!(pss("00-ff ---p 0 0 0 [rollup]\nRss:  9 kB\nPss:  331 kB\nPss_Dirty: 1 kB\n"), 331 * 1024);
        assert_eq!(pss(""), 0);
        let me = std::process::id();
        assert!(memory(&[me]).expect("we run") > 0);
        assert!(memory(&[me, u32::MAX >> 1]).is_ok(), "one that is gone is left out");
        assert!(memory(&[]).is_err() && memory(&[u32::MAX >> 1]).is_err());
    }

    #[test]
    fn a_window_is_what_is_used_between_its_edges() {
        let (tell, edges) = mpsc::channel();
        let begin = Instant::now();
        tell.send(Edges { begin, end: begin + Duration::from_millis(100) }).expect("it is received");
        let busy = std::thread::spawn(move || {
            // Until the window is over by far, whatever the machine does.
            while begin.elapsed() < Duration::from_millis(200) {}
            drop(tell);
        });
        let used = watch(std::process::id(), &edges).expect("we run");
        busy.join().expect("no panic");
        assert!(used.cpu > Duration::ZERO && used.busiest > 0.0, "{used:?}");
    }

    #[test]
    fn a_run_that_ends_with_its_window_has_one() {
        let (tell, edges) = mpsc::channel();
        let past = Instant::now();
        tell.send(Edges { begin: past, end: past }).expect("it is received");
        drop(tell);
        assert!(watch(std::process::id(), &edges).is_some());
    }

    #[test]
    fn a_window_that_is_given_up_gives_nothing() {
        let (tell, edges) = mpsc::channel();
        let hour = Instant::now() + Duration::from_secs(3600);
        tell.send(Edges { begin: hour, end: hour }).expect("it is received");
        drop(tell);
        assert_eq!(watch(std::process::id(), &edges), None);
    }
}
