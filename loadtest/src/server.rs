//! The server's process, if it is on this machine: its CPU time and its memory.

use procfs::net::{TcpState, UnixState};
use procfs::process::{FDTarget, Process};
use ringway::placement::CoreList;
use ringway::{Address, UnixAddress};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

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

/// The processes of a server; several can listen on one port.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObservedServer {
    pids: Vec<u32>,
    /// Threads to exclude: the generator's own, if both are in one process.
    not: HashSet<i32>,
}

impl ObservedServer {
    /// The processes that listen on the first of `targets` that has any.
    pub(crate) fn find_any(targets: &[Address]) -> Self {
        targets.iter().map(Self::find).find(|server| !server.pids.is_empty()).unwrap_or_default()
    }

    /// The processes that listen on `target`; none if it is on another machine, or if they may not
    /// be inspected. Reads the descriptors of all processes, which takes some milliseconds.
    pub(crate) fn find(target: &Address) -> Self {
        let mut pids = Vec::new();
        let sockets = match target {
            Address::Tcp(target) if is_here(target.ip()) => listening(*target),
            Address::Tcp(_) => HashSet::new(),
            Address::Unix(target) => listening_unix(target),
        };
        if !sockets.is_empty() {
            for process in procfs::process::all_processes().into_iter().flatten().flatten() {
                let owns = |fd: procfs::process::FDInfo| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode));
                if process.fd().is_ok_and(|fds| fds.flatten().any(owns)) {
                    pids.push(process.pid.unsigned_abs());
                }
            }
        }
        Self { pids, not: HashSet::new() }
    }

    /// The process with a known id.
    pub(crate) fn known(pid: u32) -> Self {
        Self::of(vec![pid])
    }

    /// These processes.
    pub(crate) fn of(pids: Vec<u32>) -> Self {
        Self { pids, not: HashSet::new() }
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
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").ok();
        let online = online.and_then(|list| list.trim().parse::<CoreList>().ok());
        if online.is_some_and(|cores| cores.as_slice().len() == 1) {
            return BTreeSet::new(); // Where there is one core, running on it is no choice.
        }
        let processes = self.pids.iter().filter_map(|pid| Process::new(*pid as i32).ok());
        let tasks = processes.filter_map(|process| process.tasks().ok()).flatten().flatten();
        let masks = tasks.filter(|task| !self.not.contains(&task.tid)).filter_map(|task| task.status().ok());
        masks.filter_map(|status| only_core(&status.cpus_allowed_list?)).collect()
    }

    /// A sample of its CPU time and memory. `None` if there is no process.
    pub(crate) fn sample(&self) -> Option<Sample> {
        let mut sample = self.clocks();
        for pid in &self.pids {
            let Ok(process) = Process::new(*pid as i32) else { continue };
            sample.rss += resident_bytes(*pid).unwrap_or(0);
            let cores = process.status().ok().and_then(|status| status.cpus_allowed_list);
            sample.cores = sample.cores.max(cores.map_or(0, |list| count_cores(&list)));
        }
        (!sample.is_empty()).then_some(sample)
    }

    /// A sample of its CPU time only; reads one file for each thread.
    pub(crate) fn clocks(&self) -> Sample {
        let mut sample = Sample { at: Instant::now(), threads: HashMap::new(), rss: 0, cores: 0 };
        for pid in &self.pids {
            for task in Process::new(*pid as i32).and_then(|process| process.tasks()).into_iter().flatten().flatten() {
                if let Ok(schedstat) = task.schedstat()
                    && !self.not.contains(&task.tid)
                {
                    sample.threads.insert(task.tid, (schedstat.sum_exec_runtime, schedstat.run_delay));
                }
            }
        }
        sample
    }
}

/// The resource use of the processes up to a point in time.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Instant,
    /// The nanoseconds that each thread ran, and that it waited for a core.
    threads: HashMap<i32, (u64, u64)>,
    rss: u64,
    /// The number of cores that they may run on; 0 if unknown.
    cores: usize,
}

/// The resource use of the server in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerUse {
    /// CPU time of all threads. The time of threads that exited in the window is not included.
    pub cpu: Duration,
    /// The share of the window for which the busiest thread ran.
    pub busiest: f64,
    /// The largest share of the window for which a thread waited for a core.
    pub waiting: f64,
    /// CPU time of all threads divided by the length of the window.
    pub cores_used: f64,
    /// The number of cores that it may run on; 0 if unknown.
    pub cores: usize,
    /// Memory at the end of the window, in bytes; 0 if it was not read.
    pub rss: u64,
}

impl Sample {
    /// Whether the sample has no threads.
    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// Adds the threads of another sample.
    pub(crate) fn merge(&mut self, other: Self) {
        self.threads.extend(other.threads);
    }

    /// The use since `begin`.
    pub(crate) fn since(&self, begin: &Self) -> ServerUse {
        let wall = self.at.saturating_duration_since(begin.at).as_nanos().max(1) as f64;
        let (mut total, mut busiest, mut waiting) = (0u64, 0u64, 0u64);
        for (thread, (cpu, delay)) in &self.threads {
            // All CPU time of a new thread lies within the window.
            let (cpu_before, delay_before) = begin.threads.get(thread).copied().unwrap_or_default();
            let ran = cpu.saturating_sub(cpu_before);
            total += ran;
            busiest = busiest.max(ran);
            waiting = waiting.max(delay.saturating_sub(delay_before));
        }
        ServerUse {
            cpu: Duration::from_nanos(total),
            busiest: (busiest as f64 / wall).min(1.0),
            waiting: (waiting as f64 / wall).min(1.0),
            cores_used: total as f64 / wall,
            cores: self.cores,
            rss: self.rss,
        }
    }
}

/// Whether an address belongs to this machine, by the routing table. Sends no packet.
fn is_here(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let route = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    route.is_ok_and(|source| source.ip() == address)
}

/// The inodes of the sockets that accept connections to `target`.
fn listening(target: SocketAddr) -> HashSet<u64> {
    let tables = [procfs::net::tcp(), procfs::net::tcp6()];
    tables
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.state == TcpState::Listen && takes(entry.local_address, target))
        .map(|entry| entry.inode)
        .collect()
}

/// The inodes of the Unix sockets that listen on `target`. procfs shows the path as it was given to
/// bind(2), so a relative path finds a server that was started with the same text.
fn listening_unix(target: &UnixAddress) -> HashSet<u64> {
    let bound = match (target.as_path(), target.as_abstract_name()) {
        (Some(path), _) => path.to_owned(),
        // procfs writes the NUL as `@`.
        (None, name) => PathBuf::from(format!("@{}", String::from_utf8_lossy(name.unwrap_or_default()))),
    };
    // The accepted sockets have the path too, and are connected.
    let entries = procfs::net::unix().into_iter().flatten();
    entries
        .filter(|entry| entry.state == UnixState::UNCONNECTED && entry.path.as_ref() == Some(&bound))
        .map(|entry| entry.inode)
        .collect()
}

/// Whether a socket that listens on `local` accepts connections to `target`.
fn takes(local: SocketAddr, target: SocketAddr) -> bool {
    let any = local.ip().is_unspecified() && (local.is_ipv6() || target.is_ipv4());
    local.port() == target.port()
        && (any || target.ip().is_unspecified() || local.ip().to_canonical() == target.ip().to_canonical())
}

/// The core of an affinity mask with a single core.
fn only_core(ranges: &[(u32, u32)]) -> Option<usize> {
    match ranges {
        [(first, last)] if first == last => Some(*first as usize),
        _ => None,
    }
}

fn count_cores(ranges: &[(u32, u32)]) -> usize {
    ranges.iter().map(|(from, to)| (to + 1).saturating_sub(*from) as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_listening_process_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = ObservedServer::find(&address.into());
        assert_eq!(server.pid(), Some(std::process::id()));
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], address.port()));
        assert_eq!(ObservedServer::find_any(&[elsewhere.into(), address.into()]).pid(), server.pid());
        let sample = server.sample().expect("we run");
        assert!(sample.rss > 0 && sample.cores > 0 && !sample.threads.is_empty());
    }

    #[test]
    fn a_process_that_listens_on_a_unix_socket_is_found() {
        let path = std::env::temp_dir().join(format!("ringway-loadtest-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("the path is free");
        let address = Address::from(UnixAddress::from_path(&path).expect("short"));
        assert_eq!(ObservedServer::find(&address).pid(), Some(std::process::id()));
        drop(listener);
        assert_eq!(ObservedServer::find(&address).pid(), None);
        std::fs::remove_file(&path).expect("ours");
        let name = format!("ringway-loadtest-{}", std::process::id());
        let abstract_name = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("short");
        let _listener = UnixListener::bind_addr(&abstract_name).expect("the name is free");
        let address = Address::from(UnixAddress::from_abstract_name(&name).expect("short"));
        assert_eq!(ObservedServer::find(&address).pid(), Some(std::process::id()));
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
        assert!(others.is_none_or(|sample| !sample.threads.contains_key(&me)));
    }

    #[test]
    fn no_process_is_found_without_a_listener_or_on_another_machine() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        assert_eq!(ObservedServer::find(&SocketAddr::from(([127, 0, 0, 1], port)).into()).pid(), None);
        // TEST-NET-1 is assigned to no host (RFC 5737).
        assert_eq!(ObservedServer::find(&SocketAddr::from(([192, 0, 2, 1], port)).into()).pid(), None);
        assert_eq!(ObservedServer::find_any(&[]).pid(), None);
        assert!(ObservedServer::default().sample().is_none());
    }

    #[test]
    fn wildcards_take_what_comes_to_their_port() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for (local, target, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
        ] {
            assert_eq!(takes(at(local), at(target)), expected, "{local} {target}");
        }
    }

    #[test]
    fn the_window_is_what_lies_between_two_samples() {
        let at = Instant::now();
        let begin = Sample { at, threads: HashMap::from([(1, (100, 0)), (2, (500, 7))]), rss: 1, cores: 2 };
        let end = Sample {
            at: at + Duration::from_nanos(1000),
            threads: HashMap::from([(1, (1000, 50)), (3, (300, 0))]),
            rss: 9,
            cores: 2,
        };
        let used = end.since(&begin);
        assert_eq!(used.cpu, Duration::from_nanos(1200));
        assert_eq!((used.busiest, used.waiting, used.cores_used, used.rss), (0.9, 0.05, 1.2, 9));
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
        let [first, .., last] = *set.as_slice() else {
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
        assert!(me.pinned_cores().contains(&last) && !me.pinned_cores().contains(&first));
        assert!(!me.without([tid]).pinned_cores().contains(&last));
        drop(release);
        thread.join().expect("it ends well");
        assert!(ObservedServer::default().pinned_cores().is_empty());
    }

    #[test]
    fn ranges_of_cores_are_counted() {
        assert_eq!(count_cores(&[(0, 0), (2, 5)]), 5);
        assert_eq!(count_cores(&[]), 0);
    }
}
