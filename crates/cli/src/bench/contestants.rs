//! The servers that are measured in each cell, their addresses, and their order.

use super::Bench;
use super::child::BenchServer;
use super::peers::{PeerProcess, PeerSpec};
use crate::choices::BenchDriver;
use crate::exit::Failure;
use ringway::ClientTls;
use serde::Serialize;
use std::net::SocketAddr;

/// How often a peer that has exited is restarted, over the whole bench.
const RESTARTS: usize = 3;

/// The protocol of an echo, and its implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Protocol {
    /// Raw TCP on our driver.
    #[serde(rename = "tcp")]
    Tcp,
    /// Raw TCP on plain epoll.
    #[serde(rename = "tcp-epoll")]
    TcpEpoll,
    /// Our WebSocket.
    #[serde(rename = "ws")]
    Ws,
    /// A peer's WebSocket.
    #[serde(rename = "ws-peer")]
    WsPeer,
}

impl Protocol {
    pub(crate) fn is_raw(self) -> bool {
        matches!(self, Self::Tcp | Self::TcpEpoll)
    }
}

/// The indices of the first contestants of each cell: raw echo on the first driver, on plain epoll,
/// and our WebSocket on the first driver. It is followed by our WebSocket on the further drivers, the
/// peers, and raw echo on the further drivers.
pub(crate) const RING: usize = 0;
pub(crate) const EPOLL: usize = 1;
pub(crate) const OURS: usize = 2;

/// A server under measurement, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contestant {
    pub(crate) protocol: Protocol,
    pub(crate) name: String,
    /// The driver of a server of ours.
    pub(crate) driver: Option<BenchDriver>,
}

impl Contestant {
    /// Whether it is a server of this program, so that its failure is ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.protocol != Protocol::WsPeer
    }
}

/// The name of our WebSocket server on a driver, one of several or the only one.
pub(crate) fn our_name(driver: BenchDriver, drivers: &[BenchDriver]) -> String {
    if drivers.len() == 1 { "ringway".into() } else { format!("ringway, {}", driver.flag()) }
}

/// All contestants, by index.
pub(crate) fn contestants(drivers: &[BenchDriver], peers: &[PeerSpec]) -> Vec<Contestant> {
    let of = |protocol, name, driver| Contestant { protocol, name, driver };
    let raw = |driver: &BenchDriver| of(Protocol::Tcp, driver.raw_echo().into(), Some(*driver));
    let ours = |driver: &BenchDriver| of(Protocol::Ws, our_name(*driver, drivers), Some(*driver));
    let (first, further) = drivers.split_at(1);
    let floors = first.iter().map(raw).chain([of(Protocol::TcpEpoll, "raw epoll".into(), None)]);
    let peers = peers.iter().map(|peer| of(Protocol::WsPeer, peer.name.clone(), None));
    floors.chain(drivers.iter().map(ours)).chain(peers).chain(further.iter().map(raw)).collect()
}

/// The order of the contestants in a round. Each round begins with a different one and every second
/// round is reversed, so that no contestant always follows the same one.
pub(crate) fn order(contestants: &[usize], round: usize) -> Vec<usize> {
    let mut order = contestants.to_vec();
    if !order.is_empty() {
        order.rotate_left(round % contestants.len());
    }
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// The address and the process of a contestant.
#[derive(Clone, Debug)]
pub(crate) struct EchoTarget {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// The options of the generator, if the contestant has TLS.
    pub(crate) tls: Option<ClientTls>,
}

impl From<&BenchServer> for EchoTarget {
    fn from(server: &BenchServer) -> Self {
        Self { address: server.address, pid: server.pid(), tls: None }
    }
}

impl From<&PeerProcess> for EchoTarget {
    fn from(peer: &PeerProcess) -> Self {
        Self { address: peer.address, pid: peer.pid(), tls: None }
    }
}

/// The processes of all contestants.
pub(crate) struct RunningContestants<'a> {
    /// By index; `None` for a peer.
    ours: Vec<Option<BenchServer>>,
    peers: Vec<Option<PeerProcess>>,
    /// The index of the first peer.
    first_peer: usize,
    specs: &'a [PeerSpec],
    bench: &'a Bench,
    restarts: Vec<usize>,
}

impl<'a> RunningContestants<'a> {
    /// Starts all contestants. Returns `None` if `stop` is set before they have started.
    pub(crate) fn start(
        bench: &'a Bench,
        contestants: &[Contestant],
        specs: &'a [PeerSpec],
    ) -> Result<Option<Self>, Failure> {
        let mut peers = Vec::new();
        for spec in specs {
            let Some(peer) = PeerProcess::start(spec, &bench.halves.server, &bench.signals.stop)? else {
                return Ok(None);
            };
            peers.push(Some(peer));
        }
        let start = |contestant: &Contestant| {
            let driver = contestant.driver.map_or("", BenchDriver::flag);
            let arguments: &[&str] = match contestant.protocol {
                Protocol::Tcp => &["floor", "--driver", driver],
                Protocol::TcpEpoll => &["floor", "--epoll"],
                Protocol::Ws => &["serve", "--driver", driver],
                Protocol::WsPeer => return Ok(None),
            };
            BenchServer::start(arguments, bench).map(Some)
        };
        let ours = contestants.iter().map(start).collect::<Result<_, Failure>>()?;
        let first_peer = contestants.iter().position(|of| !of.is_ours()).unwrap_or(contestants.len());
        let restarts = vec![0; specs.len()];
        Ok(Some(Self { ours, peers, first_peer, specs, bench, restarts }))
    }

    /// The address of contestant `index`. A peer that has exited is restarted. Fails if that fails.
    pub(crate) fn target(&mut self, index: usize) -> Result<EchoTarget, String> {
        if let Some(server) = &self.ours[index] {
            return Ok(server.into());
        }
        let at = index - self.first_peer;
        if let Some(peer) = self.peers[at].take_if(|peer| peer.has_ended()) {
            drop(peer);
        }
        if self.peers[at].is_none() && self.restarts[at] < RESTARTS {
            self.restarts[at] += 1;
            let started = PeerProcess::start(&self.specs[at], &self.bench.halves.server, &self.bench.signals.stop);
            self.peers[at] = started.map_err(|Failure(why)| why)?;
        }
        self.peers[at].as_ref().map(EchoTarget::from).ok_or_else(|| format!("it has exited {RESTARTS} times"))
    }

    /// The reason why contestant `index` failed, with the last output of a peer that has exited.
    pub(crate) fn explain(&mut self, index: usize, why: String) -> String {
        let at = index.checked_sub(self.first_peer);
        let peer = at.and_then(|at| self.peers.get_mut(at)?.take_if(|peer| peer.has_ended()));
        peer.map_or(why.clone(), |peer| format!("{why}; {}", peer.last_words()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers;

    #[test]
    fn each_contestant_begins_one_round_and_none_always_follows_the_same() {
        let all = [0, 1, 2];
        let orders: Vec<Vec<usize>> = (0..6).map(|round| order(&all, round)).collect();
        assert_eq!(orders[0], [0, 1, 2]);
        assert_eq!(orders[1], [0, 2, 1]);
        assert_eq!(orders[2], [2, 0, 1]);
        let mut first: Vec<usize> = orders.iter().map(|order| order[0]).collect();
        first.sort_unstable();
        assert_eq!(first, [0, 0, 1, 1, 2, 2]);
        let follows = |order: &[usize]| order.windows(2).any(|pair| pair == [0, 1]);
        assert!(orders.iter().any(|order| follows(order)) && !orders.iter().all(|order| follows(order)));
        assert!(order(&[], 3).is_empty());
    }

    #[test]
    fn contestants_are_at_their_indices() {
        let peers = [peers::peer("other=x {port}").expect("well-formed")];
        let all = contestants(&[BenchDriver::Uring], &peers);
        assert_eq!(all[RING].protocol, Protocol::Tcp);
        assert_eq!(all[EPOLL].protocol, Protocol::TcpEpoll);
        assert_eq!(all[OURS].name, "ringway");
        assert_eq!((all[OURS + 1].protocol, &*all[OURS + 1].name), (Protocol::WsPeer, "other"));
        assert!(all[EPOLL].protocol.is_raw() && !all[OURS].protocol.is_raw());
    }

    #[test]
    fn further_drivers_are_contestants_and_those_with_a_handshake_are_adjacent() {
        let peers = [peers::peer("other=x {port}").expect("well-formed")];
        let all = contestants(&[BenchDriver::Epoll, BenchDriver::TokioUring], &peers);
        let names: Vec<&str> = all.iter().map(|of| &*of.name).collect();
        let expected =
            ["raw epoll driver", "raw epoll", "ringway, epoll", "ringway, tokio-uring", "other", "raw tokio-uring"];
        assert_eq!(names, expected);
    }
}
