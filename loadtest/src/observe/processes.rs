//! Measures processes from outside: a process and its descendants, their memory, and the CPU time
//! that they use between two instants.

use super::server::{ObservedServer, ServerUse};
use super::window::sleep_until;
use procfs::process::all_processes;
use std::collections::{HashMap, HashSet};
use std::io::{self, Error};
use std::sync::mpsc::Receiver;

pub use super::window::Edges;

/// A process, its descendants, and the members of the process group that it leads. Only the process
/// itself if the others cannot be listed. Zombies are excluded. Reads one file for each process of
/// the system.
#[must_use]
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut found = vec![root as i32];
    let stats = all_processes().into_iter().flatten().flatten().filter_map(|process| process.stat().ok());
    for stat in stats.filter(|stat| stat.state != 'Z') {
        children.entry(stat.ppid).or_default().push(stat.pid);
        // A process whose parent has exited has another parent, but is still in its group.
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

/// The memory of processes in bytes: the sum of their proportional set sizes (`Pss` of
/// `smaps_rollup`). A page that several processes share counts once over all of them, so that
/// forked workers are not counted several times. Kernel memory, such as that of sockets, is not
/// included. Processes that have exited are excluded.
///
/// # Errors
/// If none of them can be read.
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

/// The CPU time that processes have used so far, in seconds, summed over their threads. The time of
/// threads that have exited is not included.
#[must_use]
pub fn cpu_seconds(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| super::server::cpu_time(*pid).ok()).map(|time| time.as_secs_f64()).sum()
}

/// Waits for the edges of a window, sleeps until each of them, and returns the CPU time that the
/// process `root` and its descendants used in between. Returns `None` if the sender of the edges is
/// dropped before the end of the window, or if the processes have exited. A process that starts
/// within the window counts from its start.
///
/// The calling thread sleeps except for a few reads of `/proc` at each edge. It should run on the
/// cores of the generator, so that it does not disturb the server. The kernel updates the time of a
/// thread that is running at each timer tick, so the figure of one window has an error of up to one
/// tick (4 ms at 250 Hz) in either direction, and none on average.
#[must_use]
pub fn watch(root: u32, edges: &Receiver<Edges>) -> Option<ServerUse> {
    let window = edges.recv().ok()?;
    // The processes are listed outside of the window, because that takes longer than reading them.
    let server = ObservedServer::of(tree(root));
    sleep_until(window.begin, edges)?;
    let begin = server.clocks();
    sleep_until(window.end, edges)?;
    let mut end = server.clocks();
    end.merge(ObservedServer::of(tree(root).into_iter().filter(|pid| !server.has(*pid)).collect()).clocks());
    (!begin.is_empty()).then(|| end.since(&begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    /// A shell in its own process group that runs `script`, and the first line of its output.
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
        // The shell in between exits at once, so that the reader is an orphan.
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
        let (sender, edges) = mpsc::channel();
        let begin = Instant::now();
        sender.send(Edges { begin, end: begin + Duration::from_millis(100) }).expect("it is received");
        let busy = std::thread::spawn(move || {
            // Longer than the window, on a machine of any load.
            while begin.elapsed() < Duration::from_millis(200) {}
            drop(sender);
        });
        let used = watch(std::process::id(), &edges).expect("we run");
        busy.join().expect("no panic");
        assert!(used.cpu > Duration::ZERO && used.busiest > 0.0, "{used:?}");
    }

    #[test]
    fn a_run_that_ends_with_its_window_has_one() {
        let (sender, edges) = mpsc::channel();
        let past = Instant::now();
        sender.send(Edges { begin: past, end: past }).expect("it is received");
        drop(sender);
        assert!(watch(std::process::id(), &edges).is_some());
    }

    #[test]
    fn a_window_that_is_given_up_gives_nothing() {
        let (sender, edges) = mpsc::channel();
        let hour = Instant::now() + Duration::from_secs(3600);
        sender.send(Edges { begin: hour, end: hour }).expect("it is received");
        drop(sender);
        assert_eq!(watch(std::process::id(), &edges), None);
    }
}
