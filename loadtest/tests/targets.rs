//! Targets and source addresses: which connections lead where, and come from where.

mod common;

use common::{load, messages, plan, with};
use ringway::{Connection, Handler, Limits, Message, Request, Upgrade};
use ringway_loadtest::{Behaviour, Plan, Target};
use ringway_testkit::server::{TestServer, config};
use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// The number of connections from each address.
type Visitors = Arc<Mutex<BTreeMap<IpAddr, u32>>>;

/// Echoes, and counts the addresses of its clients.
struct Counting(Visitors);

impl Handler for Counting {
    type State = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let ip = request.remote_addr().expect("it is TCP").ip();
        *self.0.lock().expect("no panic").entry(ip).or_default() += 1;
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

fn counting() -> (TestServer<Counting>, Visitors) {
    let visitors = Visitors::default();
    let shared = Arc::clone(&visitors);
    (TestServer::start(config(), Limits::default(), move |_| Counting(Arc::clone(&shared))), visitors)
}

fn total(visitors: &Visitors) -> u32 {
    visitors.lock().expect("no panic").values().sum()
}

#[test]
fn connections_come_from_all_source_addresses_in_turn() {
    let (server, visitors) = counting();
    let mut plan = with(plan(server.address(), Behaviour::Echo, messages(12)), |echo| echo.connections = 12);
    plan.connect.sources = ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|ip| ip.parse().expect("an address")).to_vec();
    let report = load(&plan);
    assert_eq!((report.connections.established, report.messages.received), (12, 12));
    let counted: Vec<_> =
        visitors.lock().expect("no panic").iter().map(|(ip, count)| (ip.to_string(), *count)).collect();
    assert_eq!(counted, [("127.0.0.2".into(), 4), ("127.0.0.3".into(), 4), ("127.0.0.4".into(), 4)]);
}

#[test]
fn a_source_address_of_another_machine_is_an_error_of_its_own() {
    let (server, visitors) = counting();
    let mut plan = plan(server.address(), Behaviour::Echo, messages(4));
    // TEST-NET-3 is assigned to no machine (RFC 5737).
    plan.connect.sources = vec!["203.0.113.9".parse().expect("an address")];
    let report = load(&plan);
    assert_eq!((common::errors(&report, "connect_source"), total(&visitors)), (4, 0), "{:?}", report.errors);
    assert!(report.is_failure());
}

#[test]
fn each_target_has_its_share_of_the_connections() {
    let ((heavy, of_heavy), (light, of_light)) = (counting(), counting());
    let target =
        |server: &TestServer<Counting>, weight| Target { weight, ..Target::new(format!("ws://{}/", server.address())) };
    let base = with(plan(heavy.address(), Behaviour::Echo, messages(80)), |echo| echo.connections = 40);
    let report = load(&Plan { targets: vec![target(&heavy, 3), target(&light, 1)], threads: Some(1), ..base });
    assert_eq!((total(&of_heavy), total(&of_light)), (30, 10));
    assert_eq!((report.messages.sent, report.messages.received), (80, 80));
}

#[test]
fn all_addresses_of_a_target_are_used() {
    let (server, visitors) = counting();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let base = plan(server.address(), Behaviour::Echo, messages(8));
    let target =
        Target { addresses: vec![closed, server.address()], ..Target::new(format!("ws://{}/", server.address())) };
    let report = load(&Plan { targets: vec![target], ..base });
    // Every second connection begins with the closed address, and goes on with the other one.
    assert_eq!((report.connections.established, total(&visitors)), (4, 4), "{:?}", report.errors);
    assert_eq!(report.messages.received, 8);
}
