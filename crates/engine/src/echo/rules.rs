//! Which datagrams the echo service answers.
//!
//! 1. None that was longer than the buffer: the reply would not be the datagram.
//! 2. None from a port below 1024: services listen there, among them other echo services (port 7),
//!    and a service that answers its own answers with them loops. Port 0 is not a port.
//! 3. None from or to several: broadcast and multicast, which one datagram would multiply.
//! 4. None from a port of this service, whatever the address: it is this service itself, or that of
//!    another machine with the same configuration.
//! 5. None beyond the rates of its address and of all ([`ReplyRates`]), which bound what forged
//!    addresses can be sent.
//! 6. None that comes again and again ([`Repeats`]), which ends a loop with a service at any other
//!    port that sends back the same bytes. Other loops are bounded by the rate of their address.

use super::rates::{OverRate, ReplyRates};
use super::repeats::Repeats;
use ringway_io::{Datagram, PacketInfo};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// The lowest port that is answered.
const FIRST_PORT: u16 = 1024;

/// Why a datagram is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// It was longer than the buffer.
    Truncated,
    /// Its port is below 1024.
    Port,
    /// It is from or to a broadcast or multicast address.
    Group,
    /// Its port is one of this service.
    Own,
    /// The rate of its address.
    Address,
    /// The rate of all.
    Total,
    /// The rate of its payload.
    Repeat,
}

/// The rules of one shard.
#[derive(Debug)]
pub(crate) struct EchoRules {
    /// The ports of the service.
    ports: Vec<u16>,
    rates: Arc<ReplyRates>,
    repeats: Repeats,
}

impl EchoRules {
    /// The rules for a service on these addresses. All its shards share the rates.
    pub(crate) fn new(addresses: &[SocketAddr], rates: Arc<ReplyRates>, now: Instant) -> Self {
        let ports = addresses.iter().map(SocketAddr::port).collect();
        Self { ports, repeats: Repeats::new(rates.per_payload(), now), rates }
    }

    /// Whether a datagram is answered.
    ///
    /// # Errors
    /// It is ignored, for this reason.
    pub(crate) fn check(&mut self, datagram: &Datagram, now: Instant) -> Result<(), Ignored> {
        if datagram.is_truncated {
            return Err(Ignored::Truncated);
        }
        let (port, source) = (datagram.peer.port(), datagram.peer.ip().to_canonical());
        if port < FIRST_PORT {
            return Err(Ignored::Port);
        }
        if is_group(source) || datagram.local.is_some_and(|local| is_for_several(&local)) {
            return Err(Ignored::Group);
        }
        if self.ports.contains(&port) {
            return Err(Ignored::Own);
        }
        self.rates.take(source, now).map_err(|over| match over {
            OverRate::Address => Ignored::Address,
            OverRate::Total => Ignored::Total,
        })?;
        let is_new = self.repeats.try_take(datagram.peer, datagram.payload.as_slice(), now);
        if is_new { Ok(()) } else { Err(Ignored::Repeat) }
    }
}

/// Whether an address is not that of one machine.
fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_broadcast() || address.is_multicast() || address.is_unspecified(),
        IpAddr::V6(address) => address.is_multicast() || address.is_unspecified(),
    }
}

/// Whether a packet was sent to several machines. For the broadcast address of a network, the address
/// of this machine is another one.
fn is_for_several(info: &PacketInfo) -> bool {
    is_group(info.destination.to_canonical()) || info.local.is_some_and(|local| local != info.destination)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::rate::Rate;
    use crate::echo::options::EchoRates;
    use ringway_io::Chunk;
    use std::time::Duration;

    const OWN: &str = "10.0.0.1:7007";

    fn rules() -> EchoRules {
        let own = [OWN, "[2001:db8::1]:7007"].map(|text| text.parse().expect("an address"));
        let start = Instant::now();
        EchoRules::new(&own, Arc::new(ReplyRates::new(EchoRates::default(), start)), start)
    }

    fn datagram(peer: &str, to: &str, local: Option<&str>) -> Datagram {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let local = PacketInfo { destination: ip(to), local: local.map(ip), interface: 2 };
        Datagram {
            socket: 0,
            peer: peer.parse().expect("an address"),
            local: Some(local),
            payload: Chunk::from(b"payload".to_vec()),
            is_truncated: false,
        }
    }

    #[track_caller]
    fn check(peer: &str, to: &str, local: Option<&str>) -> Result<(), Ignored> {
        rules().check(&datagram(peer, to, local), Instant::now())
    }

    #[test]
    fn clients_are_answered() {
        assert_eq!(check("10.0.0.9:1024", "10.0.0.1", Some("10.0.0.1")), Ok(()));
        assert_eq!(check("10.0.0.1:40000", "10.0.0.1", Some("10.0.0.1")), Ok(()), "a client on this machine");
        assert_eq!(check("127.0.0.1:65535", "127.0.0.1", Some("127.0.0.1")), Ok(()));
        assert_eq!(check("[2001:db8::9]:5000", "2001:db8::1", None), Ok(()));
        assert_eq!(check("[::ffff:10.0.0.9]:5000", "::ffff:10.0.0.1", None), Ok(()));
    }

    #[test]
    fn ports_of_services_and_port_0_are_ignored() {
        for port in [0, 7, 53, 123, 1023] {
            assert_eq!(check(&format!("10.0.0.9:{port}"), "10.0.0.1", Some("10.0.0.1")), Err(Ignored::Port));
            assert_eq!(check(&format!("[2001:db8::9]:{port}"), "2001:db8::1", None), Err(Ignored::Port));
        }
    }

    #[test]
    fn broadcast_and_multicast_are_ignored_as_source_and_as_destination() {
        for source in ["255.255.255.255:5000", "224.0.0.1:5000", "0.0.0.0:5000"] {
            assert_eq!(check(source, "10.0.0.1", Some("10.0.0.1")), Err(Ignored::Group), "{source}");
        }
        for source in ["[ff02::1]:5000", "[::]:5000", "[::ffff:224.0.0.1]:5000"] {
            assert_eq!(check(source, "2001:db8::1", None), Err(Ignored::Group), "{source}");
        }
        for to in ["255.255.255.255", "224.0.0.1", "10.0.0.255", "10.0.0.0"] {
            assert_eq!(check("10.0.0.9:5000", to, Some("10.0.0.1")), Err(Ignored::Group), "{to}");
        }
        assert_eq!(check("[fe80::9]:5000", "ff02::1", None), Err(Ignored::Group));
    }

    #[test]
    fn the_service_does_not_answer_itself() {
        assert_eq!(check(OWN, "10.0.0.1", Some("10.0.0.1")), Err(Ignored::Own));
        assert_eq!(check("127.0.0.1:7007", "127.0.0.1", Some("127.0.0.1")), Err(Ignored::Own));
        assert_eq!(check("127.0.0.9:7007", "127.0.0.1", Some("127.0.0.1")), Err(Ignored::Own));
        assert_eq!(check("[2001:db8::1]:7007", "2001:db8::1", None), Err(Ignored::Own));
        assert_eq!(check("[::ffff:10.0.0.1]:7007", "::ffff:10.0.0.1", None), Err(Ignored::Own));
        for peer in ["10.0.0.9:7007", "[2001:db8::9]:7007", "[::ffff:10.0.0.9]:7007"] {
            assert_eq!(check(peer, "10.0.0.1", Some("10.0.0.1")), Err(Ignored::Own), "that of another machine: {peer}");
        }
    }

    #[test]
    fn a_truncated_datagram_is_ignored() {
        let whole = datagram("10.0.0.9:5000", "10.0.0.1", Some("10.0.0.1"));
        let truncated = Datagram { is_truncated: true, ..whole };
        assert_eq!(rules().check(&truncated, Instant::now()), Err(Ignored::Truncated));
    }

    /// The number of answers of two services to a forged datagram, which arrives at the first one as
    /// if the second one had sent it. Each answer takes `delay`.
    fn answers_in_a_loop(ports: [u16; 2], delay: Duration) -> u32 {
        let (start, hosts) = (Instant::now(), [[10, 0, 0, 1], [10, 0, 0, 2]]);
        let addresses = [0, 1].map(|at| SocketAddr::from((hosts[at], ports[at])));
        // The rates of addresses and of all are never reached.
        let rates = EchoRates::default().per_address(Rate::per_second(1_000_000)).expect("in range");
        let mut services =
            addresses.map(|address| EchoRules::new(&[address], Arc::new(ReplyRates::new(rates, start)), start));
        let mut answered = 0;
        loop {
            let at = answered as usize % 2;
            let to = addresses[at].ip().to_string();
            let forged = datagram(&addresses[1 - at].to_string(), &to, Some(&to));
            if services[at].check(&forged, start + delay * answered).is_err() {
                return answered;
            }
            answered += 1;
        }
    }

    #[test]
    fn a_loop_with_another_service_ends_however_long_a_round_takes() {
        for delay in [1, 50, 1000, 10_000, 100_000, 400_000].map(Duration::from_micros) {
            assert_eq!(answers_in_a_loop([7007, 7007], delay), 0, "both have the same port");
            let answered = answers_in_a_loop([7007, 7008], delay);
            // Each service answers its burst, and what the rate allows meanwhile.
            let rounds = 32.0 / (1.0 - 2.0 * delay.as_secs_f64());
            assert!((64..=2 * rounds.ceil() as u32).contains(&answered), "{answered} answers of {delay:?}");
        }
    }

    #[test]
    fn loops_with_a_service_whose_answers_differ_keep_to_the_rate_of_its_address() {
        let (mut rules, start) = (rules(), Instant::now());
        let (round, rounds) = (Duration::from_millis(1), 10_000);
        let (mut loops, mut answered, mut number) = (100, 0_u64, 0_u64);
        for at in 0..rounds {
            let mut ended = 0;
            for _ in 0..loops {
                number += 1;
                let changed = datagram("10.0.0.9:5000", "10.0.0.1", Some("10.0.0.1"));
                let changed = Datagram { payload: Chunk::from(number.to_be_bytes().to_vec()), ..changed };
                match rules.check(&changed, start + round * at) {
                    Ok(()) => answered += 1,
                    // The datagram of this loop does not exist any more.
                    Err(ignored) => {
                        assert_eq!(ignored, Ignored::Address);
                        ended += 1;
                    }
                }
            }
            loops -= ended;
        }
        assert!(answered <= 1024 + 8192 * 10, "{answered} answers in 10 s");
        assert_eq!(loops, 8, "those below 8192 answers a second go on");
    }

    #[test]
    fn different_payloads_of_a_client_are_not_repeats() {
        let (mut rules, start) = (rules(), Instant::now());
        for number in 0..1000_u32 {
            let client = datagram("10.0.0.9:5000", "10.0.0.1", Some("10.0.0.1"));
            let client = Datagram { payload: Chunk::from(number.to_be_bytes().to_vec()), ..client };
            assert_eq!(rules.check(&client, start), Ok(()));
        }
    }
}
