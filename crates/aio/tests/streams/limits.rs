//! Limits of connections, of their rate, and of opening handshakes.

use crate::pair::{REQUEST, pair, run};
use ringway::{Admission, OverRate, Rate};
use ringway_aio::{Acceptor, Config, Error, Limits, Listener, WebSocket};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

fn listener() -> (Listener, SocketAddr) {
    let listener = Listener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr();
    (listener, address)
}

/// A plain client whose request is on its way.
fn client(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).expect("it listens");
    client.write_all(REQUEST).expect("it is open");
    client
}

async fn accept(listener: &mut Listener) -> WebSocket {
    listener.accept().await.expect("it opens")
}

/// Sets a handshake timeout that no machine exceeds by being slow.
fn configure_with_timeout(limits: Limits) {
    let config = Config::default().handshake_timeout(Duration::from_secs(30)).expect("in range");
    ringway_aio::configure(config, limits).expect("the first");
}

/// Connects clients that send nothing. Returns when their handshakes have begun.
async fn begin_silent(count: usize, listener: &mut Listener) -> Vec<TcpStream> {
    let address = listener.local_addr();
    let silent = (0..count).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let begun = format!("opening: {count} ");
    while !format!("{listener:?}").contains(&begun) {
        assert!(poll_fn(|cx| Poll::Ready(pin!(listener.accept()).poll(cx).is_pending())).await);
        tokio_uring::no_op().await.expect("the ring works");
    }
    silent
}

/// A silent client of a listener that has no other one. It is closed by the handshake timeout only:
/// what happens while it is connected has not waited for the end of a handshake that began later.
struct Witness(TcpStream);

impl Witness {
    async fn begin() -> (Self, Listener) {
        let (mut listener, _) = listener();
        let client = begin_silent(1, &mut listener).await.pop().expect("one");
        (Self(client), listener)
    }

    fn assert_waits(&mut self) {
        self.0.set_nonblocking(true).expect("it is open");
        match self.0.read(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            ended => panic!("the handshake timeout has passed: {ended:?}"),
        }
    }
}

/// The answer to a client, which is read on another thread.
async fn answer(mut client: TcpStream) -> Vec<u8> {
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).map(|_| answer)
    });
    answer.await.expect("no panic").expect("an end")
}

#[test]
fn at_the_limit_of_connections_a_listener_waits_and_a_socket_is_refused() {
    run(async {
        let limits = Limits::default().max_connections(2).expect("in range");
        ringway_aio::configure(Config::default(), limits).expect("the first");
        let (mut listener, address) = listener();
        let _clients: Vec<_> = (0..3).map(|_| client(address)).collect();
        let mut open = vec![accept(&mut listener).await, accept(&mut listener).await];
        {
            let mut third = pin!(listener.accept());
            for _ in 0..10 {
                assert!(poll_fn(|cx| Poll::Ready(third.as_mut().poll(cx).is_pending())).await);
                // The shard has turns.
                open[0].ping(b"").expect("short");
                open[0].flush().await.expect("it is open");
            }
        }
        let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
        assert!(matches!(Acceptor::new().accept_socket(ours).await, Err(Error::Full)));
        assert_eq!(theirs.read(&mut [0; 16]).expect("an end"), 0);
        open.pop();
        accept(&mut listener).await;
    });
}

#[test]
fn above_the_accept_rate_accepting_waits() {
    const RATE: u32 = 20;
    run(async {
        let admission = Admission::new().accept_rate(Some(Rate::per_second(RATE.into()).burst(1))).expect("in range");
        ringway_aio::configure(Config::default().admission(admission), Limits::default()).expect("the first");
        let (mut listener, address) = listener();
        let start = Instant::now();
        let mut open = Vec::new();
        for _ in 0..3 {
            let client = client(address);
            open.push((client, accept(&mut listener).await));
        }
        let least = Duration::from_secs(2) / RATE;
        assert!(start.elapsed() >= least, "3 connections in {:?}", start.elapsed());
        for _ in 0..3 {
            let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
            theirs.write_all(REQUEST).expect("it is open");
            Acceptor::new().accept_socket(ours).await.expect("it opens");
        }
        let least = Duration::from_secs(5) / RATE;
        assert!(start.elapsed() >= least, "6 connections in {:?}", start.elapsed());
    });
}

#[test]
fn connections_that_admission_rejects_are_answered_and_end_accept() {
    run(async {
        let admission = Admission::new().accept_rate(Some(Rate::per_second(1).burst(1))).expect("in range");
        let config = Config::default().admission(admission.over_accept_rate(OverRate::Reject));
        ringway_aio::configure(config, Limits::default()).expect("the first");
        let (mut listener, address) = listener();
        let first = client(address);
        let open = accept(&mut listener).await;
        let rejected = answer(client(address));
        let mut next = pin!(listener.accept());
        let mut rejected = pin!(rejected);
        let got = poll_fn(|cx| {
            assert!(next.as_mut().poll(cx).is_pending());
            rejected.as_mut().poll(cx)
        });
        let got = got.await;
        assert!(got.starts_with(b"HTTP/1.1 503 "), "{}", got.escape_ascii());
        drop((open, first));
    });
}

#[test]
fn a_socket_that_admission_closes_at_once_is_an_error() {
    run(async {
        let admission = Admission::new().max_connections(Some(1)).expect("in range");
        let config = Config::default().admission(admission.reject_with(ringway::RejectWith::Close));
        ringway_aio::configure(config, Limits::default()).expect("the first");
        let (mut listener, address) = listener();
        let first = client(address);
        let open = accept(&mut listener).await;
        let (ours, _theirs) = UnixStream::pair().expect("descriptors");
        assert!(matches!(Acceptor::new().accept_socket(ours).await, Err(Error::Full)));
        drop((open, first));
    });
}

#[test]
fn silent_connections_give_their_places_to_others() {
    const PLACES: usize = 3;
    run(async {
        configure_with_timeout(Limits::default());
        let (mut witness, _own) = Witness::begin().await;
        let (listener, address) = listener();
        let mut listener = listener.max_opening(NonZeroUsize::new(PLACES).expect("not zero"));
        let mut silent = begin_silent(PLACES, &mut listener).await;
        let _clients: Vec<_> = (0..2 * PLACES).map(|_| client(address)).collect();
        let mut open = Vec::new();
        for _ in 0..2 * PLACES {
            open.push(accept(&mut listener).await);
        }
        witness.assert_waits();
        // The oldest one was closed.
        assert_eq!(silent[0].read(&mut [0; 16]).expect("an end"), 0);
    });
}

#[test]
fn silent_connections_that_fill_the_shard_give_their_places_to_others() {
    const PLACES: usize = 3;
    run(async {
        let limits = u32::try_from(PLACES + 1).expect("few");
        configure_with_timeout(Limits::default().max_connections(limits).expect("in range"));
        let (mut witness, _own) = Witness::begin().await;
        let (mut listener, address) = listener();
        let mut silent = begin_silent(PLACES, &mut listener).await;
        let _clients: Vec<_> = (0..PLACES).map(|_| client(address)).collect();
        let mut open = Vec::new();
        for _ in 0..PLACES {
            open.push(accept(&mut listener).await);
        }
        witness.assert_waits();
        for silent in &mut silent {
            // All places are taken by others.
            assert_eq!(silent.read(&mut [0; 16]).expect("an end"), 0);
        }
    });
}

#[test]
fn a_burst_of_connections_beyond_the_handshakes_in_progress_opens() {
    run(async {
        let (listener, address) = listener();
        let mut listener = listener.max_opening(NonZeroUsize::new(4).expect("not zero"));
        let _clients: Vec<_> = (0..200).map(|_| client(address)).collect();
        let mut open = Vec::new();
        while open.len() < 200 {
            open.push(accept(&mut listener).await);
        }
    });
}

#[test]
fn an_attempt_ends_when_the_shard_has_no_room() {
    run(async {
        let limits = Limits::default().max_connections(2).expect("in range");
        ringway_aio::configure(Config::default(), limits).expect("the first");
        let both = pair().await;
        let error = ringway_aio::connect("ws://127.0.0.1:1/").await.expect_err("no slot is free");
        assert!(error.to_string().contains("max_connections"), "{error}");
        drop(both);
    });
}
