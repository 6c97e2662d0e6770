//! The server's process, if it is on this machine: its CPU time and its memory.

use super::lookup::{self, Unknown};
use super::throttling::{self, Throttled};
use super::usage::Sample;
use procfs::process::Process;
use ringway::Address;
use ringway::placement::CoreList;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

pub use super::usage::{ServerThread, ServerUse};

/// The CPU time of all threads of a process, to the nanosecond. The time of threads that have
/// exited is not included.
///
/// # Errors
/// If the process has exited, or may not be inspected.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in Process::new(pid as i32).and_then(|process| process.tasks()).map_err(io::Error::other)? {
        // A thread that exits meanwhile is skipped.
        nanos += task.and_then(|task| task.schedstat()).map_or(0, |schedstat| schedstat.sum_exec_runtime);
    }
    Ok(Duration::from_nanos(nanos))
}

/// The resident memory of a process, in bytes.
///
/// # Errors
/// As [`cpu_time`].
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let statm = Process::new(pid as i32).and_then(|process| process.statm()).map_err(io::Error::other)?;
    Ok(statm.resident * procfs::page_size())
}

/// The processes of a server, several of which can listen on one port; or the reason why they are
/// unknown.
#[derive(Clone, Debug)]
pub(crate) struct ObservedServer {
    pids: Vec<u32>,
    /// Threads to exclude: the generator's own, if both are in one process.
    not: HashSet<i32>,
    unknown: Option<Unknown>,
    identity: Option<ServerIdentity>,
}

impl Default for ObservedServer {
    /// A server that is not observed.
    fn default() -> Self {
        Self::unknown(Unknown::NotObserved)
    }
}

impl ObservedServer {
    /// The processes that listen on the addresses of all `targets`; if those of one address are
    /// unknown, the reason, because the CPU time of the others is not that of all messages.
    ///
    /// A name can have a loopback address on which nothing listens: `localhost` is `::1` too. The
    /// kernel refuses connections to it, so the processes of the name's other addresses are all.
    pub(crate) fn find_all<'a>(targets: impl IntoIterator<Item = &'a [Address]>) -> Self {
        let mut pids = BTreeSet::new();
        for addresses in targets {
            let found: Vec<_> = addresses.iter().map(|address| (address, lookup::find(address))).collect();
            let is_served = found.iter().any(|(_, found)| found.is_ok());
            for (address, found) in found {
                let is_loopback = address.tcp().is_some_and(|address| address.ip().to_canonical().is_loopback());
                match found {
                    Ok(found) => pids.extend(found),
                    Err(Unknown::NotListening(_)) if is_served && is_loopback => {}
                    Err(why) => return Self::unknown(why),
                }
            }
        }
        if pids.is_empty() { Self::default() } else { Self::of(pids.into_iter().collect()).identified() }
    }

    /// The process with a known id.
    pub(crate) fn known(pid: u32) -> Self {
        Self::of(vec![pid]).identified()
    }

    /// The server of datagrams, which is not looked for.
    pub(crate) fn of_datagrams() -> Self {
        Self::unknown(Unknown::Datagrams)
    }

    /// These processes, without their identity.
    pub(crate) fn of(pids: Vec<u32>) -> Self {
        Self { pids, not: HashSet::new(), unknown: None, identity: None }
    }

    fn unknown(why: Unknown) -> Self {
        Self { unknown: Some(why), ..Self::of(Vec::new()) }
    }

    fn identified(mut self) -> Self {
        self.identity = self.read_identity();
        self
    }

    /// The name and the extent of its processes when they were found, so that they are known after
    /// these have exited. `None` if none could be read.
    pub(crate) fn identity(&self) -> Option<&ServerIdentity> {
        self.identity.as_ref()
    }

    fn read_identity(&self) -> Option<ServerIdentity> {
        let processes: Vec<Process> = self.processes().collect();
        let first = processes.iter().min_by_key(|process| process.pid)?;
        Some(ServerIdentity {
            pid: first.pid.unsigned_abs(),
            name: first.stat().ok()?.comm,
            command: first.cmdline().unwrap_or_default(),
            processes: processes.len(),
            threads: processes
                .iter()
                .filter_map(|process| process.stat().ok())
                .map(|stat| stat.num_threads.max(0) as usize)
                .sum(),
            cores: self.allowed_cores(),
        })
    }

    fn processes(&self) -> impl Iterator<Item = Process> {
        self.pids.iter().filter_map(|pid| Process::new(*pid as i32).ok())
    }

    /// The cores that any of its processes may run on; empty if unknown.
    pub(crate) fn allowed_cores(&self) -> BTreeSet<usize> {
        let masks = self.processes().filter_map(|process| process.status().ok()?.cpus_allowed_list);
        masks.flatten().flat_map(|(first, last)| first as usize..=last as usize).collect()
    }

    /// Whether a process belongs to the server.
    pub(crate) fn has(&self, pid: u32) -> bool {
        self.pids.contains(&pid)
    }

    /// Excludes threads.
    pub(crate) fn without(mut self, threads: impl IntoIterator<Item = i32>) -> Self {
        self.not.extend(threads);
        self
    }

    /// The process that the report names: the oldest.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pids.iter().copied().min()
    }

    /// The cores that its threads are pinned to. Reads a file of procfs for each thread.
    pub(crate) fn pinned_cores(&self) -> BTreeSet<usize> {
        self.pinned_threads().into_values().collect()
    }

    /// Its threads that are pinned to one core. Reads a file of procfs for each thread.
    pub(crate) fn pinned_threads(&self) -> HashMap<i32, usize> {
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
        let online = online.and_then(|list| list.trim().parse::<CoreList>().ok());
        if online.is_some_and(|cores| cores.as_slice().len() == 1) {
            return HashMap::new(); // Where there is one core, running on it is no choice.
        }
        let tasks = self.processes().filter_map(|process| process.tasks().ok()).flatten().flatten();
        let tasks = tasks.filter(|task| !self.not.contains(&task.tid));
        tasks.filter_map(|task| Some((task.tid, only_core(&task.status().ok()?.cpus_allowed_list?)?))).collect()
    }

    /// A sample of its CPU time and memory.
    ///
    /// # Errors
    /// [`Unknown`] if the processes are, or if one of them has exited: the CPU time of the others is
    /// not that of all messages.
    pub(crate) fn sample(&self) -> Result<Sample, Unknown> {
        if let Some(why) = &self.unknown {
            return Err(why.clone());
        }
        let mut sample = self.clocks();
        for pid in &self.pids {
            sample.rss += resident_bytes(*pid).map_err(|_| Unknown::Gone(*pid))?;
        }
        if sample.is_empty() {
            return Err(self.pid().map_or(Unknown::NotObserved, Unknown::Gone));
        }
        sample.cores = self.allowed_cores().len();
        Ok(sample)
    }

    /// The throttling of each cgroup of its processes. `None` if one is unknown.
    pub(crate) fn throttled(&self) -> Option<Vec<Throttled>> {
        let mut seen = HashSet::new();
        let mut throttled = Vec::new();
        for pid in &self.pids {
            if seen.insert(std::fs::read(format!("/proc/{pid}/cgroup")).ok()?) {
                throttled.push(throttling::read(&Process::new(*pid as i32).ok()?)?);
            }
        }
        (!throttled.is_empty()).then_some(throttled)
    }

    /// A sample of its CPU time only; reads one file for each thread and one for each process.
    pub(crate) fn clocks(&self) -> Sample {
        let group = Duration::ZERO;
        let mut sample = Sample { at: Instant::now(), threads: HashMap::new(), group, rss: 0, cores: 0 };
        for process in self.processes() {
            if let Ok(stat) = process.stat()
                && self.not.is_empty()
            {
                let seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
                sample.group += Duration::from_secs_f64(seconds);
            }
            for task in process.tasks().into_iter().flatten().flatten() {
                // All numbers are 0 if the kernel does not count them, or if the thread has not run.
                if let Ok(schedstat) = task.schedstat()
                    && schedstat.pcount > 0
                    && !self.not.contains(&task.tid)
                {
                    sample.threads.insert(task.tid, (schedstat.sum_exec_runtime, schedstat.run_delay));
                }
            }
        }
        sample
    }
}

/// The process of a server, as it is shown: `ringway (4711)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServerIdentity {
    /// The process id; the lowest one if there are several.
    pub pid: u32,
    /// The name of the process (`comm`), at most 15 bytes.
    pub name: String,
    /// The command line. It can contain secrets, so it is not in reports.
    #[serde(skip)]
    pub command: Vec<String>,
    /// The number of processes that listen on the addresses.
    pub processes: usize,
    /// The number of their threads.
    pub threads: usize,
    /// The cores that they may run on; empty if unknown.
    pub cores: BTreeSet<usize>,
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.processes {
            0 | 1 => write!(f, "{} ({})", self.name, self.pid),
            several => write!(f, "{} ({} and {} more)", self.name, self.pid, several - 1),
        }
    }
}

/// The core of an affinity mask with a single core.
fn only_core(ranges: &[(u32, u32)]) -> Option<usize> {
    match ranges {
        [(first, last)] if first == last => Some(*first as usize),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener};

    /// A listener of this process on a port of any address.
    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    #[test]
    fn a_server_is_unknown_if_one_of_its_addresses_is() {
        let (_listener, address) = listener();
        // TEST-NET-1 is assigned to no host (RFC 5737).
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], address.port()));
        let find = |targets: &[&[SocketAddr]]| {
            let targets: Vec<Vec<Address>> =
                targets.iter().map(|target| target.iter().map(|address| (*address).into()).collect()).collect();
            ObservedServer::find_all(targets.iter().map(Vec::as_slice))
        };
        let server = find(&[&[address]]);
        assert_eq!(server.pid(), Some(std::process::id()));
        let sample = server.sample().expect("we run");
        assert!(sample.rss > 0 && sample.cores > 0 && !sample.threads.is_empty());

        let unknown = Unknown::Elsewhere(elsewhere.to_string());
        for targets in [&[&[elsewhere][..]][..], &[&[address], &[elsewhere]], &[&[address, elsewhere]]] {
            let server = find(targets);
            assert_eq!((server.pid(), server.sample().err()), (None, Some(unknown.clone())), "{targets:?}");
            assert!(server.identity().is_none() && unknown.to_string().contains(&elsewhere.to_string()));
        }
        assert_eq!(find(&[]).sample().err(), Some(Unknown::NotObserved));

        // The port of a client is in use, and nothing listens on it.
        let client = std::net::TcpStream::connect(address).expect("it is accepted");
        let refused = client.local_addr().expect("an address");
        assert_eq!(find(&[&[refused, address]]).pid(), Some(std::process::id()), "an address of the same name");
        let not_listening = Unknown::NotListening(refused.to_string());
        assert_eq!(find(&[&[address], &[refused]]).sample().err(), Some(not_listening), "another server");
    }

    #[test]
    fn the_use_of_several_processes_is_unknown_if_one_has_exited() {
        let mut cat = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("a program");
        let server = ObservedServer::of(vec![std::process::id(), cat.id()]);
        let both = server.sample().expect("both run");
        assert!(both.threads.contains_key(&(cat.id() as i32)) && both.threads.len() > 1);
        drop(cat.stdin.take());
        cat.wait().expect("it ends");
        assert_eq!(server.sample().err(), Some(Unknown::Gone(cat.id())));
    }

    #[test]
    fn a_server_is_shown_by_its_name_and_process() {
        let server = ObservedServer::known(std::process::id());
        let me = server.identity().expect("we run").clone();
        let comm = std::fs::read_to_string("/proc/self/comm").expect("we run");
        assert_eq!(me.to_string(), format!("{} ({})", comm.trim_end(), std::process::id()));
        assert!(me.threads > 0 && !me.cores.is_empty() && !me.command.is_empty());
        let several = ServerIdentity { pid: 12, name: "nginx".into(), processes: 4, ..me };
        assert_eq!(several.to_string(), "nginx (12 and 3 more)");
    }

    #[test]
    fn a_server_that_has_exited_has_its_name() {
        // It runs until its input ends.
        let mut cat = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("a program");
        let server = ObservedServer::known(cat.id());
        drop(cat.stdin.take());
        cat.wait().expect("it ends");
        let identity = server.without([]).identity().cloned().expect("it ran");
        assert_eq!((identity.pid, identity.name.as_str(), identity.processes), (cat.id(), "cat", 1));
    }

    #[test]
    fn a_process_uses_time_and_memory() {
        let me = std::process::id();
        assert!(cpu_time(me).expect("we run") > Duration::ZERO);
        assert!(resident_bytes(me).expect("we run") > 0);
        assert!(cpu_time(u32::MAX >> 1).is_err() && resident_bytes(u32::MAX >> 1).is_err());
    }

    #[test]
    fn threads_that_do_not_serve_are_left_out() {
        let me = rustix::thread::gettid().as_raw_nonzero().get();
        let all = ObservedServer::known(std::process::id());
        assert!(all.sample().expect("we run").threads.contains_key(&me));
        let others = all.without([me]).sample();
        assert!(others.map_or(true, |sample| !sample.threads.contains_key(&me)));
    }

    #[test]
    fn a_thread_is_pinned_when_its_mask_has_one_core() {
        assert_eq!(only_core(&[(3, 3)]), Some(3));
        assert_eq!(only_core(&[(0, 1)]), None);
        assert_eq!(only_core(&[(0, 0), (2, 2)]), None);
        assert_eq!(only_core(&[]), None);
    }

    #[test]
    fn pinned_threads_of_a_process_are_found() {
        let set = ringway::placement::CoreSet::read().expect("the mask can be read").cores();
        let [_, .., last] = *set.as_slice() else {
            eprintln!("NOT TESTED: this process may run on one core only");
            return;
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            ringway::placement::pin(last).expect("it is in the mask");
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).expect("the test waits");
            let _ = wait.recv();
        });
        let tid = receiver.recv().expect("it runs");
        let me = ObservedServer::known(std::process::id());
        let main = std::process::id() as i32;
        assert_eq!((me.pinned_threads().get(&tid), me.pinned_threads().get(&main)), (Some(&last), None));
        assert!(me.pinned_cores().contains(&last));
        assert_eq!(me.without([tid]).pinned_threads().get(&tid), None);
        drop(release);
        thread.join().expect("it ends well");
        assert!(ObservedServer::default().pinned_cores().is_empty());
    }
}
