//! Messages of clients over hand-overs.

use super::{Ledger, replace, start};
use ringway::{DrainReport, DriverChoice, Server, TlsConfig};
use ringway_testkit::certificates::Authority;
use ringway_tests::TestDirectory;
use ringway_tests::numbered::{NumberedClient, Place};
use std::time::Duration;

use DriverChoice::{Epoll, Uring};

/// Numbered messages of some clients while the server is replaced five times, from each driver to the
/// other and with other numbers of shards. `listen` opens the addresses, or takes them over.
fn numbered_messages(name: &str, first: Server, tls: Option<&TlsConfig>, place: impl Fn(&ringway::Address) -> Place) {
    let folder = TestDirectory::new(name);
    let path = folder.file("handover.sock");
    let ledger = Ledger::default();
    let mut serving = start(first, Uring, 2, &ledger);
    serving.offer(&path).expect("the path is free");
    let place = place(&serving.addresses()[0]);
    let clients: Vec<_> = (0..6)
        .map(|client| NumberedClient::start(place.clone(), format!("{name}-{client}"), Duration::from_millis(2)))
        .collect();
    let mut before = 0;
    for (driver, shards) in [(Uring, 3), (Epoll, 1), (Epoll, 2), (Uring, 2), (Uring, 1)] {
        // Each server answers some messages.
        ledger.wait_for(before + 60);
        let next = replace(&path, driver, shards, &ledger, |former| Server::from_predecessor(former, tls));
        assert_eq!((next.addresses(), next.schemes()), (serving.addresses(), serving.schemes()));
        before = ledger.counts().len();
        let reports = std::mem::replace(&mut serving, next).wait().expect("it ends without an error");
        let drain = DrainReport::sum(reports.iter().filter_map(|report| report.drain)).expect("it has drained");
        assert_eq!((drain.reason, drain.lost, drain.aborted), (ringway::DrainReason::HandOver, 0, 0), "{drain}");
    }
    let tallies: Vec<_> = clients.into_iter().map(NumberedClient::stop).collect();
    serving.stop();
    serving.wait().expect("it ends without an error");
    let ledger = ledger.counts();
    println!("{name}: {} messages, {tallies:?}", ledger.len());
    for (client, tally) in tallies.iter().enumerate() {
        assert!(tally.handed_over > 0 && tally.messages > 0, "{tally:?}");
        for number in 0..tally.messages {
            let message = format!("{name}-{client}:{number}");
            assert_eq!(ledger.get(&message), Some(&1), "{message}");
        }
    }
    assert_eq!(ledger.len() as u64, tallies.iter().map(|tally| tally.messages).sum::<u64>());
}

#[test]
fn each_message_over_tcp_is_handled_once() {
    let server = Server::bind("127.0.0.1:0").expect("a free port");
    numbered_messages("tcp", server, None, |address| Place::Tcp(address.tcp().expect("TCP")));
}

#[test]
fn each_message_over_tls_is_handled_once() {
    let root = Authority::root("Test Root");
    let identity = root.issue(&["localhost"]);
    let tls = TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a chain and its key");
    let server = Server::bind("127.0.0.1:0").expect("a free port").tls(&tls);
    numbered_messages("tls", server, Some(&tls), |address| Place::tls(address.tcp().expect("TCP"), &root.pem()));
}

#[test]
fn each_message_over_a_unix_socket_is_handled_once() {
    let folder = TestDirectory::new("numbered-unix");
    let file = folder.file("app.sock");
    let server = Server::bind(format!("unix:{}", file.display())).expect("the path is free");
    numbered_messages("unix", server, None, |_| Place::Unix(file.clone()));
    assert!(!file.exists(), "the last server removes the file");
}
