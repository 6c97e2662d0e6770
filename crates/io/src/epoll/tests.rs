//! What is particular to epoll. The tests that all drivers share are in `crate::tests`.

use super::*;
use crate::table::KernelInterface;
use crate::tests::{LOCAL, TestDriver, accept, ended, received, turn};
use crate::uring::UringConfig;
use crate::{Cause, Listener, Output, Slot};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

impl TestDriver for Epoll {
    const LENDS_BUFFERS: bool = false;

    fn open(config: UringConfig) -> Self {
        let UringConfig { buffers, max_connections, busy_poll, ring_entries: _ } = config;
        Self::new(EpollConfig { buffers, max_connections, busy_poll }).expect("descriptors are left")
    }

    fn pool(&self) -> &Pool {
        self.pool()
    }

    fn table(&self) -> &SlotTable<impl KernelInterface> {
        &self.table
    }

    fn table_mut(&mut self) -> &mut SlotTable<impl KernelInterface> {
        &mut self.table
    }

    fn holds_nothing(&self) -> bool {
        self.table.kernel.transfers.holds_nothing()
    }

    fn descriptor(&self) -> RawFd {
        self.table.kernel.set.descriptor().as_raw_fd()
    }
}

/// A driver with a connection whose peer is returned.
fn connected(buffers: BufferConfig) -> (Epoll, Slot, TcpStream) {
    let mut driver = Epoll::new(EpollConfig { buffers, ..EpollConfig::default() }).expect("descriptors are left");
    let listener = Listener::bind(LOCAL).expect("a free port");
    let peer = TcpStream::connect(listener.address().tcp().expect("TCP")).expect("it listens");
    driver.listen(listener);
    let slot = accept(&mut driver);
    (driver, slot, peer)
}

fn small_buffers(count: u16) -> BufferConfig {
    BufferConfig { size: 1024, count, ready: Some(count), working_set: None }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    for max_connections in [0, (1 << 30) + 1] {
        let error =
            Epoll::new(EpollConfig { max_connections, ..EpollConfig::default() }).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("max_connections is {max_connections}: give 1 to 1073741824")));
    }
    let buffers = BufferConfig { ready: Some(5), ..small_buffers(4) };
    let error = Epoll::new(EpollConfig { buffers, ..EpollConfig::default() }).err();
    assert!(matches!(&error, Some(EpollError::Option(option)) if option.option == "buffers.ready"), "{error:?}");
}

/// recv(2) stops in front of urgent data, although bytes follow.
#[test]
fn bytes_behind_urgent_data_are_received() {
    let (mut driver, slot, mut peer) = connected(small_buffers(4));
    driver.receive(slot);
    for _ in 0..10 {
        peer.write_all(b"before").expect("open");
        rustix::net::send(&peer, b"!", rustix::net::SendFlags::OOB).expect("open");
        peer.write_all(b"behind").expect("open");
        let mut all = Vec::new();
        while all.len() < 12 {
            all.extend(received(&mut driver));
        }
        assert_eq!(all, b"beforebehind");
    }
}

#[test]
fn fin_behind_the_last_bytes_is_reported_without_another_event() {
    let (mut driver, slot, mut peer) = connected(small_buffers(4));
    peer.write_all(b"the end").expect("open");
    peer.shutdown(Shutdown::Write).expect("open");
    driver.receive(slot);
    assert_eq!(received(&mut driver), b"the end");
    assert!(matches!(ended(&mut driver), Cause::Finished));
}

#[test]
fn bytes_that_arrived_during_a_pause_are_received_after_it() {
    let (mut driver, slot, mut peer) = connected(small_buffers(4));
    driver.receive(slot);
    turn(&mut driver);
    driver.pause(slot);
    peer.write_all(b"x").expect("open");
    // The event of the byte is seen during the pause.
    while !driver.table.kernel.is_readable(slot) {
        assert!(turn(&mut driver).is_empty());
    }
    driver.receive(slot);
    assert_eq!(received(&mut driver), b"x");
}

#[test]
fn a_connection_that_receives_much_gets_one_buffer_of_a_turn() {
    let (mut driver, slot, mut peer) = connected(small_buffers(8));
    driver.receive(slot);
    peer.write_all(&[7; 4096]).expect("open");
    while driver.unread(slot) < 4096 {
        std::thread::yield_now();
    }
    let mut completions = turn(&mut driver);
    for _ in 0..3 {
        assert!(driver.has_backlog());
        let next = turn(&mut driver);
        assert_eq!(next.len(), 1);
        completions.extend(next);
    }
    assert!(
        completions
            .iter()
            .all(|completion| matches!(completion, Completion::Received { buffer, .. } if buffer.len() == 1024))
    );
    assert_eq!(completions.len(), 4);
}

#[test]
fn the_completions_of_sends_do_not_keep_events_waiting() {
    let (mut driver, slot, mut peer) = connected(small_buffers(4));
    driver.receive(slot);
    turn(&mut driver);
    peer.write_all(b"x").expect("open");
    while driver.unread(slot) == 0 {
        std::thread::yield_now();
    }
    // Each turn has the completion of a send, which leads to the next send.
    driver.send(slot, Output::One(b"y".to_vec().into()));
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(turns <= 2, "nothing is received in {turns} turns");
        let completions = turn(&mut driver);
        if completions.iter().any(|completion| matches!(completion, Completion::Received { .. })) {
            return;
        }
        assert!(driver.has_backlog());
        for completion in completions {
            if let Completion::Sent { slot, output, .. } = completion {
                driver.send(slot, output);
            }
        }
    }
}

#[test]
fn a_turn_accepts_a_share_of_the_waiting_connections_and_the_rest_follows() {
    let listener = Listener::bind(LOCAL).expect("a free port");
    const COUNT: usize = 150;
    let peers: Vec<_> =
        (0..COUNT).map(|_| TcpStream::connect(listener.address().tcp().expect("TCP")).expect("it listens")).collect();
    let mut driver = Epoll::new(EpollConfig::default()).expect("descriptors are left");
    driver.listen(listener);
    let counts: Vec<usize> = (0..3).map(|_| turn(&mut driver).len()).collect();
    assert_eq!(counts, [64, 64, COUNT - 128]);
    drop(peers);
}

#[test]
fn a_listener_with_a_full_queue_does_not_delay_the_others() {
    const QUEUED: usize = 200;
    let listeners: Vec<_> = (0..3).map(|_| Listener::bind(LOCAL).expect("a free port")).collect();
    let connect =
        |index: usize| TcpStream::connect(listeners[index].address().tcp().expect("TCP")).expect("it listens");
    let mut peers: Vec<_> = (0..QUEUED).map(|_| connect(1)).collect();
    peers.extend([connect(0), connect(2)]);
    let mut driver = Epoll::new(EpollConfig::default()).expect("descriptors are left");
    for listener in listeners {
        driver.listen(listener);
    }
    let mut accepted = [0; 3];
    for completion in turn(&mut driver) {
        if let Completion::Accepted { listener, .. } = completion {
            accepted[listener] += 1;
        }
    }
    // Two attempts of the turn's share find out that a queue is empty.
    assert_eq!(accepted, [1, 60, 1]);
    drop(peers);
}

#[test]
fn a_driver_closes_its_descriptors() {
    let (driver, _, mut peer) = connected(small_buffers(4));
    drop(driver);
    assert_eq!(peer.read(&mut [0; 8]).expect("closed without RST"), 0);
}
