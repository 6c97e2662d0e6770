//! The echo service on the drivers of the real kernel.

use super::*;
use crate::tests::{LOCAL, TestDriver, small};
use crate::uring::UringConfig;
use crate::{BufferConfig, Completion, Listener, Slot};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

macro_rules! on_each_driver {
    ($($name:ident,)+) => {
        mod on_uring {
            $(#[test] fn $name() { super::$name::<crate::uring::Uring>() })+
        }
        mod on_epoll {
            $(#[test] fn $name() { super::$name::<crate::epoll::Epoll>() })+
        }
    };
}

on_each_driver! {
    bytes_come_back_and_a_half_closed_peer_gets_all_of_them,
    a_peer_that_does_not_read_is_not_read_beyond_the_high_water_mark,
    an_ended_connection_gets_its_echoes_and_a_fin,
    a_peer_that_does_not_end_its_direction_is_dropped_in_time,
    silent_and_stuck_peers_are_closed_at_their_deadlines,
    a_connection_that_waits_is_closed_when_memory_is_exhausted,
    a_reset_is_no_end_of_the_service,
}

const HOUR: Duration = Duration::from_secs(3600);

const LIMITS: EchoLimits = EchoLimits {
    high_water: 64 << 10,
    low_water: 32 << 10,
    idle_timeout: Some(HOUR),
    write_timeout: Some(HOUR),
    close_timeout: HOUR,
};

/// A service on a driver, with the time that its deadlines see.
struct Service<D> {
    driver: D,
    streams: EchoStreams,
    now: Instant,
    slots: Vec<Slot>,
    ends: Vec<EchoEnd>,
}

impl<D: TestDriver> Service<D> {
    fn new(config: UringConfig) -> (Self, SocketAddr) {
        let mut driver = D::open(config);
        let listener = Listener::bind(LOCAL).expect("a free port");
        let address = listener.address().tcp().expect("TCP");
        driver.listen(listener);
        let now = Instant::now();
        (Self { driver, streams: EchoStreams::new(LIMITS, now), now, slots: vec![], ends: vec![] }, address)
    }

    fn turn(&mut self) {
        self.turn_for(Duration::from_secs(20));
    }

    fn turn_for(&mut self, timeout: Duration) {
        let mut completions = Vec::new();
        self.driver.wait(Some(timeout), &mut completions).expect("the driver works");
        let Self { driver, streams, now, slots, .. } = self;
        for completion in completions {
            match completion {
                Completion::Accepted { slot, .. } => {
                    slots.push(slot);
                    streams.open(slot, driver, *now);
                }
                Completion::Received { slot, buffer } => streams.received(slot, buffer, *now),
                Completion::Sent { slot, output, written } => streams.sent(slot, output, written, *now),
                Completion::Ended { slot, cause } => streams.ended(slot, &cause, driver),
                _ => {}
            }
        }
        streams.flush(driver);
        self.note_ends();
    }

    fn note_ends(&mut self) {
        self.ends.extend(self.streams.take_ends().into_iter().map(|(_, end)| end));
    }

    fn until(&mut self, mut is_reached: impl FnMut(&mut Self) -> bool) {
        while !is_reached(self) {
            self.turn();
        }
    }

    fn expire_after(&mut self, time: Duration) {
        self.now += time;
        self.streams.expire(self.now, &mut self.driver);
        self.note_ends();
    }

    #[track_caller]
    fn assert_released(&mut self) {
        assert_eq!((self.streams.len(), self.streams.held(), self.streams.queued()), (0, 0, 0));
        while self.driver.stats().open > 0 {
            self.turn();
        }
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn bytes_come_back_and_a_half_closed_peer_gets_all_of_them<D: TestDriver>() {
    let (mut service, address) = Service::<D>::new(small(8));
    let all = bytes(300_000);
    let peer = {
        let all = all.clone();
        std::thread::spawn(move || {
            let mut writer = TcpStream::connect(address).expect("it listens");
            let mut reader = writer.try_clone().expect("a descriptor");
            let reading = std::thread::spawn(move || {
                let mut echo = Vec::new();
                reader.read_to_end(&mut echo).expect("closed without a reset");
                echo
            });
            writer.write_all(&all).expect("it reads");
            writer.shutdown(Shutdown::Write).expect("open");
            reading.join().expect("no panic")
        })
    };
    service.until(|service| !service.ends.is_empty());
    assert_eq!(service.ends, [EchoEnd::Finished]);
    let counts = service.streams.counts();
    assert_eq!((counts.opened, counts.received, counts.sent), (1, 300_000, 300_000));
    service.assert_released();
    assert!(peer.join().expect("no panic") == all, "every byte comes back");
}

/// A connected peer that reads nothing, and has written until nothing more was taken.
fn stuck<D: TestDriver>(service: &mut Service<D>, address: SocketAddr) -> (TcpStream, u64) {
    let mut peer = TcpStream::connect(address).expect("it listens");
    peer.set_nonblocking(true).expect("an option");
    service.until(|service| !service.slots.is_empty());
    let (piece, mut written, mut quiet) = (bytes(16 << 10), 0, 0);
    // Room can appear while the kernel moves bytes between the buffers of both sides.
    while quiet < 50 {
        let before = (written, service.streams.counts());
        match peer.write(&piece) {
            Ok(len) => written += len as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        service.turn_for(Duration::from_millis(1));
        quiet = if (written, service.streams.counts()) == before { quiet + 1 } else { 0 };
    }
    (peer, written)
}

/// A configuration with buffers that move megabytes in few turns.
fn large() -> UringConfig {
    let buffers = BufferConfig { size: 16 << 10, count: 32, ready: Some(8), working_set: None };
    UringConfig { buffers, ..small(8) }
}

fn a_peer_that_does_not_read_is_not_read_beyond_the_high_water_mark<D: TestDriver>() {
    let (mut service, address) = Service::<D>::new(large());
    let (mut peer, written) = stuck(&mut service, address);
    let counts = service.streams.counts();
    assert!(counts.pauses > 0 && counts.received < written, "{counts:?} of {written}");
    // A turn can fill all buffers before the pause takes effect.
    let max = LIMITS.high_water + 32 * (16 << 10);
    assert!(service.streams.queued() <= max, "{} bytes wait", service.streams.queued());
    // It continues when the peer reads.
    let (mut echo, mut piece) = (0, vec![0; 64 << 10]);
    while echo < written {
        match peer.read(&mut piece) {
            Ok(len) => echo += len as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => service.turn_for(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
    drop(peer);
    service.until(|service| !service.ends.is_empty());
    assert_eq!((echo, service.ends.clone()), (written, vec![EchoEnd::Finished]));
    service.assert_released();
}

fn an_ended_connection_gets_its_echoes_and_a_fin<D: TestDriver>() {
    let (mut service, address) = Service::<D>::new(small(8));
    let mut peer = TcpStream::connect(address).expect("it listens");
    peer.write_all(b"before the end").expect("room");
    service.until(|service| service.streams.counts().received == 14);
    service.streams.end(service.slots[0], service.now);
    service.streams.flush(&mut service.driver);
    let peer = std::thread::spawn(move || {
        let mut echo = Vec::new();
        peer.read_to_end(&mut echo).expect("a FIN, and no reset");
        echo
    });
    service.until(|service| !service.ends.is_empty());
    assert_eq!(service.ends, [EchoEnd::Finished]);
    service.assert_released();
    assert_eq!(peer.join().expect("no panic"), b"before the end");
}

fn a_peer_that_does_not_end_its_direction_is_dropped_in_time<D: TestDriver>() {
    let (mut service, address) = Service::<D>::new(small(8));
    let _peer = TcpStream::connect(address).expect("it listens");
    service.until(|service| !service.slots.is_empty());
    service.streams.end(service.slots[0], service.now);
    service.streams.flush(&mut service.driver);
    service.expire_after(HOUR / 2);
    assert!(service.ends.is_empty());
    service.expire_after(HOUR);
    assert_eq!(service.ends, [EchoEnd::CloseTimeout]);
    service.assert_released();
}

fn silent_and_stuck_peers_are_closed_at_their_deadlines<D: TestDriver>() {
    let (mut service, address) = Service::<D>::new(large());
    let _silent = TcpStream::connect(address).expect("it listens");
    service.until(|service| !service.slots.is_empty());
    let (_stuck, _) = stuck(&mut service, address);
    service.expire_after(HOUR / 2);
    service.expire_after(HOUR / 4);
    assert!(service.ends.is_empty());
    service.expire_after(HOUR / 2);
    assert_eq!(service.ends, [EchoEnd::Idle]);
    service.expire_after(HOUR / 2);
    assert_eq!(service.ends, [EchoEnd::Idle, EchoEnd::WriteTimeout]);
    service.assert_released();
}

fn a_connection_that_waits_is_closed_when_memory_is_exhausted<D: TestDriver>() {
    let (mut service, address) = Service::<D>::new(large());
    let mut reader = TcpStream::connect(address).expect("it listens");
    service.until(|service| service.slots.len() == 1);
    let (stuck, _) = stuck(&mut service, address);
    service.streams.set_room(Room::Exhausted);
    // One that reads is served.
    reader.write_all(b"still").expect("room");
    let before = service.streams.counts().received;
    service.until(|service| service.streams.counts().received > before);
    let mut echo = [0; 5];
    service.turn_for(Duration::from_millis(1));
    reader.read_exact(&mut echo).expect("it is echoed");
    assert_eq!(&echo, b"still");
    assert!(service.ends.is_empty(), "nothing was received on the other one");
    // Receiving on the other one is paused. Bytes that were received before the pause end it.
    let waiting = *service.slots.last().expect("two");
    let buffer = service.driver.pool().fill(b"more").expect("a free buffer");
    service.streams.received(waiting, buffer, service.now);
    service.streams.flush(&mut service.driver);
    service.note_ends();
    assert_eq!(service.ends, [EchoEnd::Memory]);
    drop((stuck, reader));
    service.until(|service| service.ends.len() == 2);
    service.assert_released();
}

fn a_reset_is_no_end_of_the_service<D: TestDriver>() {
    let (mut service, address) = Service::<D>::new(small(8));
    let peer = TcpStream::connect(address).expect("it listens");
    service.until(|service| !service.slots.is_empty());
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(peer);
    service.until(|service| !service.ends.is_empty());
    assert_eq!(service.ends, [EchoEnd::Lost]);
    service.assert_released();
}

#[test]
fn what_a_send_did_not_write_is_sent_first() {
    let mut outbox = EchoOutbox::default();
    ["ab", "cdef", "gh"].into_iter().for_each(|text| outbox.push(text.as_bytes().to_vec().into()));
    let output = outbox.take().expect("three chunks");
    assert!(outbox.is_sending() && outbox.take().is_none(), "one send at a time");
    outbox.append(b"ij");
    outbox.sent(output, 3);
    assert_eq!(outbox.bytes(), 7);
    let rest = outbox.take().expect("the rest");
    let bytes: Vec<u8> = rest.chunks().flat_map(|chunk| chunk.as_slice()).copied().collect();
    assert_eq!(bytes, b"defghij");
    outbox.sent(rest, 7);
    assert_eq!((outbox.bytes(), outbox.held()), (0, 0));
}
