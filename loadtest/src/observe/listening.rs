//! The server's listening socket during the ramp: the limit of its accept queue, overflows of that
//! queue, and connects whose SYN was sent again.
//!
//! The kernel drops a SYN when the accept queue is full, and the client sends it again after one
//! second. Such a connection opens late, which says nothing about the server's speed.

use super::lookup::{accepts, is_local, unix_inode};
use super::sock_diag::{self, ListeningSocket};
use ringway::Address;
use serde::Serialize;
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;

/// The default number of handshakes in progress at a time, over all threads, unless the limit of the
/// server's accept queue is known.
pub const HANDSHAKES: u32 = 64;

/// The limit of an accept queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Backlog {
    /// The limit of one socket, in connections: the lowest, if several listen on the address.
    pub limit: u32,
    /// Whether it is the limit of the socket. Otherwise it is `net.core.somaxconn`, which bounds
    /// the limit of every socket.
    pub exact: bool,
    /// The number of sockets that listen on the address; 0 if unknown.
    pub sockets: usize,
}

impl Backlog {
    /// The number of handshakes that may be in progress over all threads: the limit of the accept
    /// queue, or 64 if it is unknown.
    pub(crate) fn handshakes(of: Option<&Self>) -> u32 {
        match of {
            Some(backlog) if backlog.exact => backlog.limit.max(1),
            Some(backlog) => backlog.limit.clamp(1, HANDSHAKES),
            None => HANDSHAKES,
        }
    }
}

/// The lowest limit of the accept queues of the sockets that listen on `targets`.
///
/// # Errors
/// A sentence with the reason why one of them is unknown, or that there are none.
pub(crate) fn lowest_backlog(targets: &[Address]) -> Result<Backlog, String> {
    let mut lowest: Option<Backlog> = None;
    for target in targets {
        let backlog = backlog(target)?;
        lowest = Some(lowest.filter(|lowest| lowest.limit <= backlog.limit).unwrap_or(backlog));
    }
    lowest.ok_or_else(|| "the server's listen backlog: there is no address".to_owned())
}

/// The limit of the accept queue of the sockets that listen on `target`.
///
/// # Errors
/// A sentence with the reason why it is unknown.
fn backlog(target: &Address) -> Result<Backlog, String> {
    let why = match sockets(target) {
        Ok(sockets) => match sockets.iter().map(|socket| socket.limit).min() {
            Some(limit) => return Ok(Backlog { limit, exact: true, sockets: sockets.len() }),
            None => {
                return Err(format!(
                    "the server's listen backlog: no socket of this network namespace listens on {target}"
                ));
            }
        },
        Err(why) => why,
    };
    let limit = fs::read_to_string("/proc/sys/net/core/somaxconn").ok().and_then(|text| text.trim().parse().ok());
    match limit.filter(|_| target.tcp().is_none_or(|target| is_local(target.ip()))) {
        Some(limit) => Ok(Backlog { limit, exact: false, sockets: 0 }),
        None => Err(why),
    }
}

/// The sockets of this network namespace that listen on `target`.
fn sockets(target: &Address) -> Result<Vec<ListeningSocket>, String> {
    let refused = |error| format!("the server's listen backlog: the kernel refuses sock_diag(7): {error}");
    match target {
        Address::Tcp(target) => Ok(listening(sock_diag::tcp().map_err(refused)?, *target)),
        Address::Unix(target) => match unix_inode(target) {
            Some(inode) => Ok(sock_diag::unix(inode).map_err(refused)?.into_iter().collect()),
            None => Ok(Vec::new()),
        },
    }
}

fn listening(all: Vec<ListeningSocket>, target: SocketAddr) -> Vec<ListeningSocket> {
    if !is_local(target.ip()) {
        return Vec::new();
    }
    all.into_iter().filter(|socket| socket.address.is_some_and(|local| accepts(local, target))).collect()
}

/// Counters of TCP in this network namespace (`/proc/net/netstat`). `None`: the kernel does not
/// have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TcpCounters {
    /// Connections that found an accept queue full, on all listening sockets (`ListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// SYNs and connections that listening sockets dropped for any reason (`ListenDrops`).
    pub listen_drops: Option<u64>,
    /// SYNs that were sent again (`TCPSynRetrans`).
    pub syn_retransmits: Option<u64>,
    /// Expired retransmission timers (`TCPTimeouts`).
    pub timeouts: Option<u64>,
}

impl TcpCounters {
    /// Reads the counters.
    pub(crate) fn read() -> Self {
        Self::parse(&fs::read_to_string("/proc/net/netstat").unwrap_or_default())
    }

    /// The counters of the lines `TcpExt: NAME…` and `TcpExt: VALUE…`.
    fn parse(netstat: &str) -> Self {
        let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let names = lines.next().unwrap_or_default().split_ascii_whitespace();
        let values: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
        let names: Vec<&str> = names.collect();
        let value = |name: &str| {
            let at = names.iter().position(|other| *other == name)?;
            values.get(at)?.parse().ok()
        };
        Self {
            listen_overflows: value("ListenOverflows"),
            listen_drops: value("ListenDrops"),
            syn_retransmits: value("TCPSynRetrans"),
            timeouts: value("TCPTimeouts"),
        }
    }

    fn since(&self, begin: &Self) -> Self {
        let since = |end: Option<u64>, begin: Option<u64>| Some(end?.saturating_sub(begin?));
        Self {
            listen_overflows: since(self.listen_overflows, begin.listen_overflows),
            listen_drops: since(self.listen_drops, begin.listen_drops),
            syn_retransmits: since(self.syn_retransmits, begin.syn_retransmits),
            timeouts: since(self.timeouts, begin.timeouts),
        }
    }
}

/// The counters before or after the ramp.
#[derive(Clone, Debug)]
pub(crate) struct ListenSample {
    counters: TcpCounters,
    /// The drops of the server's own sockets; `None` if they are not visible.
    drops: Option<u64>,
}

impl ListenSample {
    /// Reads the counters, and those of the sockets that listen on `targets`.
    pub(crate) fn read(targets: &[Address]) -> Self {
        let drops = |target: &Address| {
            let sockets = sockets(target).ok().filter(|sockets| !sockets.is_empty())?;
            sockets.iter().map(|socket| socket.drops.map(u64::from)).sum::<Option<u64>>()
        };
        let drops = targets.iter().map(drops).sum::<Option<u64>>();
        Self { counters: TcpCounters::read(), drops: drops.filter(|_| !targets.is_empty()) }
    }

    /// What happened since `begin`.
    pub(crate) fn since(&self, begin: &Self) -> RampFigures {
        RampFigures {
            counters: self.counters.since(&begin.counters),
            server_drops: self.drops.zip(begin.drops).map(|(end, begin)| end.saturating_sub(begin)),
            syn_retries: Vec::new(),
        }
    }
}

/// The obstacles of the ramp.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RampFigures {
    /// The counters of this network namespace, which include all other connections in it.
    #[serde(flatten)]
    pub counters: TcpCounters,
    /// SYNs and connections that the server's own sockets dropped. `null` if they are in another
    /// network namespace or on another machine.
    pub server_drops: Option<u64>,
    /// Groups of connections whose times to connect show that their SYN was sent again.
    pub syn_retries: Vec<SynRetry>,
}

impl RampFigures {
    /// A sentence for each obstacle.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let overflows = self.counters.listen_overflows.unwrap_or(0);
        match self.server_drops {
            // A drop of another cause: no memory, or a reply that could not be routed.
            Some(drops) if drops > 0 && overflows == 0 => {
                sentences.push(format!(
                    "the server's socket dropped {drops} connections, without an overflow of its accept queue"
                ));
            }
            // A SYN and the last packet of a handshake can both be dropped.
            Some(drops) if drops > 0 => sentences.push(format!(
                "the accept queue of the server overflowed {}: open fewer connections at a time, or raise the server's \
                 listen backlog and net.core.somaxconn",
                times(overflows.min(drops))
            )),
            // Other sockets have overflowed.
            Some(_) => {}
            None if overflows > 0 => sentences.push(format!(
                "accept queues in this network namespace overflowed {}; whether it was the server's is unknown",
                times(overflows)
            )),
            None => {}
        }
        if let Some(count) = self.counters.syn_retransmits.filter(|count| *count > 0) {
            sentences.push(format!("{count} SYNs were sent again, which delays a connection by at least 1 s"));
        }
        for SynRetry { after_seconds, connections } in &self.syn_retries {
            sentences.push(format!(
                "{connections} connections opened just after {after_seconds} s, when a lost SYN is sent again"
            ));
        }
        sentences
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Connections that opened just after a time at which a SYN is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SynRetry {
    /// The time.
    pub after_seconds: u64,
    /// Their number.
    pub connections: u64,
}

/// Finds the connections whose SYN was sent again by their times to connect: groups just after the
/// times at which Linux sends a SYN again. `count` returns the number of connections with a time in
/// a range of nanoseconds.
///
/// The first interval is 1 s (RFC 6298 section 2.1). Each further one doubles, so that a SYN is
/// sent after 1 s, 3 s and 7 s; since Linux 6.5 the first four are equal
/// (`net.ipv4.tcp_syn_linear_timeouts`), and a SYN is sent after 1, 2, 3, 4 and 5 s. A group counts
/// if it has more than twice the connections of the interval of the same length before it, so that
/// a slow server with times all over is not mistaken for retries.
pub(crate) fn syn_retries(mut count: impl FnMut(Range<u64>) -> u64) -> Vec<SynRetry> {
    const SECOND: u64 = 1_000_000_000;
    // The kernel's timers are late by up to an eighth of the interval.
    const WIDTH: u64 = SECOND / 4;
    let mut retry = |after_seconds: u64| {
        let at = after_seconds * SECOND;
        let (before, connections) = (count(at - WIDTH..at), count(at..at + WIDTH));
        (connections > 2 * before).then_some(SynRetry { after_seconds, connections })
    };
    [1, 2, 3, 4, 5, 7].into_iter().filter_map(&mut retry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway::UnixAddress;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;

    #[test]
    fn the_limit_of_a_listening_socket_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = Address::from(listener.local_addr().expect("an address"));
        // The standard library asks for a fixed backlog, which the kernel reduces to somaxconn.
        let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("readable");
        let somaxconn: u32 = somaxconn.trim().parse().expect("a number");
        let found = backlog(&address).expect("it listens");
        assert!(found.exact && found.sockets == 1 && (1..=somaxconn).contains(&found.limit), "{found:?}");
        assert_eq!(Backlog::handshakes(Some(&found)), found.limit);
        let _waiting = TcpStream::connect(address.tcp().expect("it is TCP")).expect("it listens");
        // The last packet of the handshake can arrive after the client's call has returned.
        while sockets(&address).expect("readable")[0].queued != 1 {
            std::thread::yield_now();
        }
        drop(listener);
        // The processes that other tests start have the socket until they run their program.
        let why = std::iter::repeat_with(|| backlog(&address)).find_map(Result::err).expect("it has ended");
        assert!(why.contains("no socket"), "{why}");
    }

    #[test]
    fn the_limit_of_a_unix_socket_is_read() {
        let path = std::env::temp_dir().join(format!("ringway-loadtest-{}-backlog.sock", std::process::id()));
        let _listener = UnixListener::bind(&path).expect("the path is free");
        let address = Address::from(UnixAddress::from_path(&path).expect("short"));
        let found = backlog(&address);
        fs::remove_file(&path).expect("ours");
        assert!(found.as_ref().is_ok_and(|found| found.exact && found.limit > 0), "{found:?}");
    }

    #[test]
    fn an_unknown_limit_leaves_the_default() {
        assert_eq!(Backlog::handshakes(None), 64);
        let bound = |limit| Backlog { limit, exact: false, sockets: 0 };
        assert_eq!(Backlog::handshakes(Some(&bound(4096))), 64);
        assert_eq!(Backlog::handshakes(Some(&bound(16))), 16);
        // TEST-NET-1 is assigned to no host (RFC 5737).
        assert!(backlog(&SocketAddr::from(([192, 0, 2, 1], 80)).into()).is_err());
    }

    const NETSTAT: &str = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPTimeouts TCPSynRetrans\n\
                           TcpExt: 0 12 15 7 9\nIpExt: InNoRoutes ListenOverflows\nIpExt: 3 99\n";

    #[test]
    fn counters_are_found_by_name_and_absent_ones_are_unknown() {
        let counters = TcpCounters::parse(NETSTAT);
        let expected = TcpCounters {
            listen_overflows: Some(12),
            listen_drops: Some(15),
            syn_retransmits: Some(9),
            timeouts: Some(7),
        };
        assert_eq!(counters, expected);
        assert_eq!(TcpCounters::parse(""), TcpCounters::default());
        assert_eq!(TcpCounters::parse("TcpExt: ListenDrops\nTcpExt: 4\n").listen_overflows, None);
        assert_eq!(counters.since(&TcpCounters::default()), TcpCounters::default(), "unknown at one end");
        assert!(TcpCounters::read().listen_overflows.is_some());
    }

    #[test]
    fn an_overflow_is_said_and_attributed_only_where_it_is_known() {
        let figures = |overflows, server_drops| RampFigures {
            counters: TcpCounters { listen_overflows: Some(overflows), ..TcpCounters::default() },
            server_drops,
            syn_retries: Vec::new(),
        };
        let said = |figures: RampFigures| figures.sentences().join("; ");
        let server = said(figures(12, Some(24)));
        assert!(server.starts_with("the accept queue of the server overflowed 12 times"), "{server}");
        assert!(said(figures(1, Some(1))).contains("overflowed once"));
        assert_eq!(said(figures(12, Some(0))), "", "another listener overflowed");
        assert!(said(figures(12, None)).contains("whether it was the server's is unknown"));
        assert!(said(figures(0, Some(3))).contains("without an overflow"));
        assert_eq!(said(figures(0, None)), "");
        let retried = RampFigures {
            counters: TcpCounters { syn_retransmits: Some(5), ..TcpCounters::default() },
            server_drops: None,
            syn_retries: vec![SynRetry { after_seconds: 1, connections: 4 }],
        };
        assert_eq!(
            said(retried),
            "5 SYNs were sent again, which delays a connection by at least 1 s; 4 connections opened just after 1 s, \
             when a lost SYN is sent again"
        );
    }

    #[test]
    fn an_overflow_of_a_real_accept_queue_is_counted() {
        let listener = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
        let listener = listener.expect("a socket");
        rustix::net::bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        rustix::net::listen(&listener, 1).expect("it is bound");
        let address = SocketAddr::try_from(rustix::net::getsockname(&listener).expect("bound")).expect("of IP");
        let begin = ListenSample::read(&[address.into()]);
        assert_eq!(backlog(&address.into()).map(|found| (found.limit, found.exact)), Ok((1, true)));
        let other = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        assert!(lowest_backlog(&[address.into(), other.into()]).is_err(), "the other one is closed");
        let other = TcpListener::bind("127.0.0.1:0").expect("a port");
        let other_address = other.local_addr().expect("an address");
        let lowest = lowest_backlog(&[other_address.into(), address.into()]);
        assert_eq!(lowest.map(|found| found.limit), Ok(1));
        // A queue with a limit of 1 takes two connections; the next SYN is dropped.
        let accepted = [TcpStream::connect(address), TcpStream::connect(address)];
        assert!(accepted.iter().all(Result::is_ok));
        let refused = rustix::net::socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        );
        let refused = refused.expect("a socket");
        assert_eq!(rustix::net::connect(&refused, &address), Err(rustix::io::Errno::INPROGRESS));
        // The kernel can handle the SYN after the call has returned.
        let ramp = loop {
            let ramp = ListenSample::read(&[address.into()]).since(&begin);
            if ramp.server_drops.expect("the socket is visible") > 0 {
                break ramp;
            }
            std::thread::yield_now();
        };
        assert!(ramp.sentences()[0].starts_with("the accept queue of the server overflowed"), "{ramp:?}");
    }

    #[test]
    fn groups_after_the_times_of_retries_are_found() {
        let retries = |times: &[(u64, u64)]| {
            let times = times.to_vec();
            let count = move |range: Range<u64>| {
                times.iter().filter(|(millis, _)| range.contains(&(millis * 1_000_000))).map(|(_, count)| count).sum()
            };
            syn_retries(count).iter().map(|retry| (retry.after_seconds, retry.connections)).collect::<Vec<_>>()
        };
        assert_eq!(retries(&[(1, 9_900), (1_010, 80), (3_030, 20)]), [(1, 80), (3, 20)]);
        assert_eq!(
            retries(&[(1, 900), (1_004, 5), (2_050, 3), (3_090, 2), (7_100, 1)]),
            [(1, 5), (2, 3), (3, 2), (7, 1)]
        );
        // A server that takes from 0.5 s to 1.5 s.
        let spread: Vec<(u64, u64)> = (500..1500).map(|millis| (millis, 1)).collect();
        assert_eq!(retries(&spread), []);
        assert_eq!(retries(&[]), []);
    }
}
