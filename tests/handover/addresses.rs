//! Which sockets a successor uses: those that it is asked for, by address, and by part.

use super::{DRIVERS, Ledger, OfferOptions, predecessor, replace, start};
use ringway::{Address, DriverChoice, Server};
use ringway_tests::{End, RawRequest, TestDirectory, WirePeer};
use std::net::{SocketAddr, TcpStream};

fn tcp(address: &Address) -> SocketAddr {
    address.tcp().expect("TCP")
}

#[test]
fn a_successor_keeps_what_it_is_asked_for_opens_what_is_missing_and_closes_the_rest() {
    for driver in DRIVERS {
        let folder = TestDirectory::new(&format!("addresses-{driver:?}"));
        let (path, kept_file, closed_file) = (folder.file("h.sock"), folder.file("kept"), folder.file("closed"));
        let (kept_unix, closed_unix) =
            (format!("unix:{}", kept_file.display()), format!("unix:{}", closed_file.display()));
        let ledger = Ledger::default();
        let server = ["127.0.0.2:0", &kept_unix, &closed_unix]
            .into_iter()
            .try_fold(Server::bind("127.0.0.1:0").expect("a free port"), |server, address| server.and_bind(address));
        let old = start(server.expect("free addresses"), driver, 2, &ledger);
        old.offer(&path).expect("the path is free");
        let (kept, closed) = (tcp(&old.addresses()[0]), tcp(&old.addresses()[1]));
        // A port that is not in use, and is asked for by its number.
        let added = {
            let free = std::net::TcpListener::bind("127.0.0.3:0").expect("a free port");
            free.local_addr().expect("bound")
        };
        let new = replace(&path, driver, 1, &ledger, |former| {
            assert_eq!(former.addresses().len(), 4);
            // Port 0 is any port of the former server.
            let server = Server::taking_over(former)?.and_bind(added)?.and_bind("127.0.0.1:0")?;
            server.and_bind(&*kept_unix)
        });
        let own: Vec<String> = new.addresses().iter().map(ToString::to_string).collect();
        assert_eq!(own, [added.to_string(), kept.to_string(), kept_unix]);
        old.wait().expect("it ends without an error");
        for address in [kept, added] {
            WirePeer::open(address).expect_echo("served");
        }
        let mut peer = WirePeer::connect_unix(&kept_file);
        peer.upgrade();
        peer.expect_echo("served");
        assert!(TcpStream::connect(closed).is_err(), "nobody listens there");
        assert!(!closed_file.exists(), "its file is removed");
        drop(peer);
        new.stop();
        new.wait().expect("it ends without an error");
        assert!(!kept_file.exists(), "its file is removed by the last server");
    }
}

#[test]
fn a_successor_whose_address_is_in_use_fails_and_the_server_goes_on() {
    let folder = TestDirectory::new("addresses-in-use");
    let path = folder.file("h.sock");
    let ledger = Ledger::default();
    let old = start(Server::bind("127.0.0.1:0").expect("a free port"), DriverChoice::Auto, 1, &ledger);
    old.offer(&path).expect("the path is free");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut former = predecessor(&path);
    let server = Server::taking_over(&mut former).expect("it listens");
    let error = server.and_bind(taken.local_addr().expect("bound")).expect_err("in use");
    assert!(error.to_string().contains("the port is taken"), "{error}");
    drop(former);
    WirePeer::open(tcp(&old.addresses()[0])).expect_echo("served");
    old.stop();
    old.wait().expect("it ends without an error");
}

#[test]
fn another_server_of_the_process_stops_accepting_and_serves_its_connections() {
    const PART: u8 = 7;
    for driver in DRIVERS {
        let folder = TestDirectory::new(&format!("parts-{driver:?}"));
        let path = folder.file("h.sock");
        let bind = || Server::bind("127.0.0.1:0").expect("a free port");
        let (ledger, other_ledger) = (Ledger::default(), Ledger::default());
        let old = start(bind(), driver, 2, &ledger);
        let old_other = start(bind(), driver, 1, &other_ledger);
        let options = OfferOptions::new().part(PART, old_other.handover_part()).expect("a number");
        old.offer_with(&path, options).expect("the path is free");
        let address = tcp(&old_other.addresses()[0]);
        let mut kept = WirePeer::open(address);
        kept.expect_echo("before");

        let mut former = predecessor(&path);
        let new = Server::taking_over(&mut former).and_then(|server| server.and_bind(tcp(&old.addresses()[0])));
        let new = start(new.expect("it listens"), driver, 2, &ledger);
        let new_other = Server::taking_over_part(&mut former, PART).and_then(|server| server.and_bind(address));
        let new_other = start(new_other.expect("it listens"), driver, 1, &Ledger::default());
        former.release().expect("the former server waits for it");
        // From here on the old server accepts nothing.
        for _ in 0..20 {
            WirePeer::open(address).expect_echo("after");
        }
        kept.expect_echo("still served by the old one");
        let before = other_ledger.counts().clone();
        assert_eq!((before.get("after"), before.len()), (None, 2), "{before:?}");
        old.wait().expect("it ends without an error");
        assert!(!old_other.readiness().is_draining());
        old_other.stop();
        assert_eq!(kept.close_code(), Some(1001));
        kept.send(&ringway_tests::Frame::close(1001, ""));
        assert_eq!(kept.end(), End::Finished);
        old_other.wait().expect("it ends without an error");
        for server in [new, new_other] {
            server.stop();
            server.wait().expect("it ends without an error");
        }
    }
}

#[test]
fn connections_in_the_queue_are_accepted_by_the_successor() {
    for driver in DRIVERS {
        let folder = TestDirectory::new(&format!("queue-{driver:?}"));
        let path = folder.file("h.sock");
        let ledger = Ledger::default();
        let old = start(Server::bind("127.0.0.1:0").expect("a free port"), driver, 1, &ledger);
        old.offer(&path).expect("the path is free");
        let address = tcp(&old.addresses()[0]);
        // The successor holds the sockets before the old one stops, and does not accept yet.
        let mut former = predecessor(&path);
        let sockets = Server::from_predecessor(&mut former, None).expect("it listens");
        former.release().expect("the former server waits for it");
        old.wait().expect("it ends without an error");
        let mut queued: Vec<WirePeer> = (0..50).map(|_| WirePeer::connect(address)).collect();
        queued.iter_mut().for_each(|peer| peer.write(RawRequest::websocket().bytes()));
        let new = start(sockets, driver, 3, &ledger);
        for peer in &mut queued {
            peer.expect_upgrade();
            peer.expect_echo("queued");
        }
        drop(queued);
        new.stop();
        new.wait().expect("it ends without an error");
    }
}
