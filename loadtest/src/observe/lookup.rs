//! Finds the processes that listen on an address, or the reason why they are unknown.
//!
//! The kernel lists the listening sockets of a network namespace with their inodes (`/proc/net`),
//! and the sockets of a process among its descriptors (`/proc/PID/fd`), which only the user of the
//! process and root may list.

use procfs::ProcError;
use procfs::net::{TcpNetEntry, TcpState, UnixNetEntry, UnixState};
use procfs::process::{FDTarget, Process};
use ringway::{Address, UnixAddress};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Why the process of a server is unknown or could not be observed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// The address does not belong to this network namespace.
    #[error(
        "{0} is not an address of this network namespace: the server is on another machine, or in a namespace that \
         may not be inspected"
    )]
    Elsewhere(String),
    /// The server receives datagrams.
    #[error("the process that receives datagrams is not looked for")]
    Datagrams,
    /// No socket listens on the address.
    #[error(
        "no socket of this network namespace listens on {0}: the server is behind a forwarded port, or in a namespace \
         that may not be inspected"
    )]
    NotListening(String),
    /// The socket belongs to another user, whose descriptors may not be listed.
    #[error("the process that listens on {target} belongs to user {user}: run the generator as that user or as root")]
    AnotherUser {
        /// The address.
        target: String,
        /// The user id of the socket.
        user: u32,
    },
    /// The descriptors of some processes may not be listed, although the user is the same.
    #[error(
        "the process that listens on {0} may not be inspected: it is protected (prctl PR_SET_DUMPABLE, a security \
         module), or this container lacks CAP_SYS_PTRACE"
    )]
    Denied(String),
    /// All visible processes were inspected, and none has the socket.
    #[error("the process that listens on {0} is in another PID namespace: run the generator outside of the container")]
    PidNamespace(String),
    /// procfs cannot be read.
    #[error("the processes of this machine cannot be listed: {0}; mount procfs on /proc")]
    NoProcfs(String),
    /// The process has exited, or its threads may not be read.
    #[error("the threads of process {0} cannot be read: it has exited, or may not be inspected")]
    Gone(u32),
    /// The run was not asked to observe it.
    #[error("the server's process was not observed")]
    NotObserved,
}

/// The sockets that accept connections to a target: inode, and user id if it is known.
type Sockets = HashMap<u64, Option<u32>>;

/// The processes that listen on `target`. If this network namespace has no such socket, looks into
/// those of other processes, as far as they may be inspected. Reads the descriptors of all
/// processes, which takes some milliseconds.
///
/// # Errors
/// [`Unknown`] if the target has no socket, or its process cannot be determined.
pub(crate) fn find(target: &Address) -> Result<Vec<u32>, Unknown> {
    let all = procfs::process::all_processes().map_err(|error| Unknown::NoProcfs(error.to_string()))?;
    let processes: Vec<Process> = all.flatten().collect();
    let is_here = match target {
        Address::Tcp(target) => is_local(target.ip()),
        Address::Unix(_) => true,
    };
    let mut sockets = if is_here {
        Process::myself().map_or_else(|_| Sockets::new(), |me| sockets(&me, target))
    } else {
        Sockets::new()
    };
    if sockets.is_empty() {
        sockets = in_other_namespaces(&processes, target);
    }
    if sockets.is_empty() {
        let target = target.to_string();
        return Err(if is_here { Unknown::NotListening(target) } else { Unknown::Elsewhere(target) });
    }
    owners(&processes, &sockets).map_err(|denied| reason(target, &sockets, denied, rustix::process::geteuid().as_raw()))
}

/// The processes that have one of `sockets`; if there is none, whether the descriptors of any
/// process may not be listed.
fn owners(processes: &[Process], sockets: &Sockets) -> Result<Vec<u32>, bool> {
    let (mut pids, mut denied) = (Vec::new(), false);
    for process in processes {
        match process.fd() {
            Ok(mut fds) => {
                let owns = |fd: procfs::ProcResult<procfs::process::FDInfo>| matches!(fd, Ok(fd) if matches!(fd.target, FDTarget::Socket(inode) if sockets.contains_key(&inode)));
                if fds.any(owns) {
                    pids.push(process.pid.unsigned_abs());
                }
            }
            Err(ProcError::PermissionDenied(_)) => denied = true,
            Err(_) => {} // It has exited.
        }
    }
    if pids.is_empty() { Err(denied) } else { Ok(pids) }
}

/// Why no process has one of `sockets`, for the user `me`.
fn reason(target: &Address, sockets: &Sockets, denied: bool, me: u32) -> Unknown {
    let target = target.to_string();
    // Processes of other users are invisible with the mount option `hidepid`.
    match sockets.values().flatten().find(|user| **user != me) {
        Some(user) if denied || me != 0 => Unknown::AnotherUser { target, user: *user },
        _ if denied => Unknown::Denied(target),
        _ => Unknown::PidNamespace(target),
    }
}

/// The sockets of other network namespaces that accept connections to `target`: one process of
/// each namespace shows them.
fn in_other_namespaces(processes: &[Process], target: &Address) -> Sockets {
    // An abstract name can be reached from its own namespace only.
    if target.unix().is_some_and(|target| target.as_path().is_none()) {
        return Sockets::new();
    }
    let mut seen: HashSet<PathBuf> = fs::read_link("/proc/self/ns/net").into_iter().collect();
    for process in processes {
        let Ok(namespace) = fs::read_link(format!("/proc/{}/ns/net", process.pid)) else { continue };
        if !seen.insert(namespace) {
            continue;
        }
        if let Address::Tcp(target) = target
            && !has_address(process.pid, target.ip())
        {
            continue;
        }
        let found = sockets(process, target);
        if !found.is_empty() {
            return found;
        }
    }
    Sockets::new()
}

/// Whether the network namespace of a process has an address, apart from loopback, which each
/// namespace has for itself.
fn has_address(pid: i32, address: IpAddr) -> bool {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    match address {
        IpAddr::V4(address) => !address.is_loopback() && trie_has(&read("fib_trie"), &address.to_string()),
        IpAddr::V6(address) => {
            let text: String = address.octets().iter().map(|octet| format!("{octet:02x}")).collect();
            !address.is_loopback() && read("if_inet6").lines().any(|line| line.starts_with(&text))
        }
    }
}

/// Whether a `fib_trie` has a local address: a line with the address, and below it `/32 host LOCAL`.
fn trie_has(trie: &str, address: &str) -> bool {
    let mut at = false;
    for line in trie.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(leaf) => at = leaf == address,
            None if line.starts_with("+--") => at = false,
            None if at && line.ends_with("host LOCAL") => return true,
            None => {}
        }
    }
    false
}

/// Whether an address belongs to this network namespace, by the routing table. Sends no packet.
pub(crate) fn is_local(address: IpAddr) -> bool {
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

/// The sockets in the network namespace of a process that accept connections to `target`.
fn sockets(process: &Process, target: &Address) -> Sockets {
    match target {
        Address::Tcp(target) => {
            let tables = [process.tcp(), process.tcp6()].into_iter().flatten().flatten();
            tables.filter(|entry| listens(entry, *target)).map(|entry| (entry.inode, Some(entry.uid))).collect()
        }
        Address::Unix(target) => {
            let bound = bound_name(target);
            let user = target.as_path().and_then(|path| fs::metadata(path).ok()).map(|file| file.uid());
            let entries = process.unix().into_iter().flatten();
            entries.filter(|entry| listens_unix(entry, &bound)).map(|entry| (entry.inode, user)).collect()
        }
    }
}

fn listens(entry: &TcpNetEntry, target: SocketAddr) -> bool {
    entry.state == TcpState::Listen && accepts(entry.local_address, target)
}

/// The accepted sockets have the name too, and are connected.
fn listens_unix(entry: &UnixNetEntry, bound: &PathBuf) -> bool {
    entry.state == UnixState::UNCONNECTED && entry.path.as_ref() == Some(bound)
}

/// The name of a Unix socket in procfs. A path is shown as it was given to bind(2), so a relative
/// path finds a server that was started with the same text.
fn bound_name(target: &UnixAddress) -> PathBuf {
    match (target.as_path(), target.as_abstract_name()) {
        (Some(path), _) => path.to_owned(),
        // procfs writes the NUL as `@`.
        (None, name) => PathBuf::from(format!("@{}", String::from_utf8_lossy(name.unwrap_or_default()))),
    }
}

/// The inode of a Unix socket of this network namespace that listens on `target`.
pub(crate) fn unix_inode(target: &UnixAddress) -> Option<u64> {
    sockets(&Process::myself().ok()?, &Address::Unix(target.clone())).into_keys().next()
}

/// Whether a socket that listens on `local` accepts connections to `target`.
pub(crate) fn accepts(local: SocketAddr, target: SocketAddr) -> bool {
    let any = local.ip().is_unspecified() && (local.is_ipv6() || target.is_ipv4());
    local.port() == target.port()
        && (any || target.ip().is_unspecified() || local.ip().to_canonical() == target.ip().to_canonical())
}

#[cfg(test)]
mod tests;
