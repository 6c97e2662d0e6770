//! The server with known faults does what it says: the truth that tests of load generators rest on
//! is itself tested, with a client that shares no code with the server or with a generator.

use ringway_testkit::impaired::{
    CorruptedByte, EndingKind, ImpairedCounts, ImpairedServer, Impairments, PlannedEnding,
};
use ringway_tests::{End, Frame, RawRequest, Received, WATCHDOG, WirePeer};
use std::time::{Duration, Instant};

fn start(impairments: Impairments) -> ImpairedServer {
    ImpairedServer::start(impairments)
}

fn none() -> Impairments {
    Impairments::default()
}

/// Waits until the counts are as `condition` says.
fn wait_until(server: &ImpairedServer, condition: impl Fn(&ImpairedCounts) -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !condition(&server.counts()) {
        assert!(Instant::now() < deadline, "{:?}", server.counts());
        std::thread::yield_now();
    }
}

/// Sends `count` numbered messages, and then one ping; returns the frames up to its pong. Replies
/// without a delay precede the pong only if they were sent before the ping arrived, so the ping is
/// sent when all messages are dealt with.
fn replies(server: &ImpairedServer, peer: &mut WirePeer, count: u32) -> Vec<Received> {
    let before = server.counts();
    let frames = (0..count).flat_map(|number| Frame::text(format!("message {number:06}")).bytes());
    peer.write(frames.collect::<Vec<u8>>());
    wait_until(server, |now| now.messages == before.messages + u64::from(count) && now.waiting == 0);
    peer.send(&Frame::ping("end"));
    let frames = std::iter::from_fn(|| Some(peer.frame()).filter(|frame| *frame != Received::pong("end")));
    frames.collect()
}

fn reply(number: u32) -> Received {
    Received::text(&format!("message {number:06}"))
}

fn counts_of(server: ImpairedServer, messages: u64, answered: u64) -> ImpairedCounts {
    let counts = server.stop().counts;
    assert_eq!((counts.messages, counts.answered), (messages, answered), "{counts:?}");
    assert_eq!(counts.messages, counts.answered + counts.dropped + counts.undelivered + counts.waiting, "{counts:?}");
    counts
}

#[test]
fn without_impairments_it_is_an_echo() {
    let server = start(none());
    let mut peers: Vec<WirePeer> = (0..20).map(|_| WirePeer::open(server.address())).collect();
    for peer in &mut peers {
        peer.expect_echo("hello");
        for size in [0, 125, 126, 65_535, 65_536, 1_000_000] {
            peer.send(&Frame::binary(vec![5; size]));
            assert!(peer.frame() == Received::binary(vec![5; size]), "{size} bytes");
        }
        peer.send(&Frame::text("Hel").more());
        peer.send(&Frame::ping("p"));
        peer.send(&Frame::continuation("lo"));
        assert_eq!([peer.frame(), peer.frame()], [Received::pong("p"), Received::text("Hello")]);
        peer.send(&Frame::close(1000, "bye"));
        assert_eq!((peer.close_code(), peer.end()), (Some(1000), End::Finished));
    }
    let counts = counts_of(server, 160, 160);
    let expected = ImpairedCounts {
        connections: 20,
        messages: 160,
        answered: 160,
        pings_received: 20,
        pongs_sent: 20,
        closed_by_client: 20,
        max_waiting: counts.max_waiting,
        ..ImpairedCounts::default()
    };
    assert_eq!(counts, expected);
}

#[test]
fn a_request_that_is_no_websocket_is_refused() {
    let server = start(none());
    let mut peer = WirePeer::connect(server.address());
    peer.write(RawRequest::websocket().without("Sec-WebSocket-Key").bytes());
    assert_eq!((peer.response().status, peer.end()), (400, End::Finished));
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text("unmasked").unmasked());
    assert!(peer.try_frame().is_err());
    let counts = server.stop().counts;
    assert_eq!((counts.refused, counts.connections, counts.violations), (1, 1, 1), "{counts:?}");
}

#[test]
fn every_tenth_reply_is_dropped() {
    let server = start(Impairments { drop_every: 10, ..none() });
    let mut peer = WirePeer::open(server.address());
    let expected: Vec<Received> = (0..1000).filter(|number| number % 10 != 9).map(reply).collect();
    assert_eq!(replies(&server, &mut peer, 1000), expected);
    assert_eq!(counts_of(server, 1000, 900).dropped, 100);
}

#[test]
fn every_tenth_reply_is_duplicated() {
    let server = start(Impairments { duplicate_every: 10, ..none() });
    let mut peer = WirePeer::open(server.address());
    let expected: Vec<Received> =
        (0..1000).flat_map(|number| vec![reply(number); if number % 10 == 9 { 2 } else { 1 }]).collect();
    assert_eq!(replies(&server, &mut peer, 1000), expected);
    assert_eq!(counts_of(server, 1000, 1000).duplicated, 100);
}

#[test]
fn one_bit_of_every_tenth_reply_is_flipped() {
    for (corrupted_byte, at) in [(CorruptedByte::First, 0), (CorruptedByte::Last, 13)] {
        let server = start(Impairments { corrupt_every: 10, corrupted_byte, ..none() });
        let mut peer = WirePeer::open(server.address());
        let mut expected: Vec<Received> = (0..1000).map(reply).collect();
        expected.iter_mut().skip(9).step_by(10).for_each(|frame| frame.payload[at] ^= 1);
        assert_eq!(replies(&server, &mut peer, 1000), expected);
        assert_eq!(counts_of(server, 1000, 1000).corrupted, 100);
    }
}

#[test]
fn corrupted_text_stays_utf8() {
    for corrupted_byte in [CorruptedByte::First, CorruptedByte::Last] {
        let server = start(Impairments { corrupt_every: 1, corrupted_byte, ..none() });
        let mut peer = WirePeer::open(server.address());
        // The first and last characters of each length, and those next to the surrogates.
        for text in "a\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}".chars().map(String::from) {
            peer.send(&Frame::text(&text));
            let echo = peer.frame().payload;
            assert!(echo != text.as_bytes() && std::str::from_utf8(&echo).is_ok(), "{text:?}: {echo:?}");
        }
    }
}

#[test]
fn an_empty_reply_is_not_corrupted_but_the_next_one_is() {
    let server = start(Impairments { corrupt_every: 2, ..none() });
    let mut peer = WirePeer::open(server.address());
    let (a, b) = (Received::text("a"), Received::text("`"));
    for (sent, expected) in [("", Received::text("")), ("", Received::text("")), ("a", b.clone()), ("a", b), ("a", a)] {
        peer.send(&Frame::text(sent));
        assert_eq!(peer.frame(), expected);
    }
    assert_eq!(server.stop().counts.corrupted, 2);
}

#[test]
fn every_tenth_reply_is_swapped_with_the_next_one() {
    let server = start(Impairments { swap_every: 10, ..none() });
    let mut peer = WirePeer::open(server.address());
    let mut expected: Vec<Received> = (0..1001).map(reply).collect();
    for at in (9..1000).step_by(10) {
        expected.swap(at, at + 1);
    }
    assert_eq!(replies(&server, &mut peer, 1001), expected);
    let counts = counts_of(server, 1001, 1001);
    assert_eq!((counts.swapped, counts.not_swapped), (100, 0));
}

#[test]
fn replies_are_swapped_within_a_connection_and_a_single_one_waits_in_vain() {
    let server = start(Impairments { swap_every: 2, ..none() });
    let (mut first, mut second) = (WirePeer::open(server.address()), WirePeer::open(server.address()));
    first.expect_echo("1");
    let sent = Instant::now();
    second.send(&Frame::text("2"));
    wait_until(&server, |counts| counts.messages == 2);
    first.expect_echo("3");
    assert_eq!(second.frame(), Received::text("2"));
    assert!(sent.elapsed() >= Impairments::SWAP_WAIT);
    let counts = counts_of(server, 3, 3);
    assert_eq!((counts.swapped, counts.not_swapped), (0, 1));
}

#[test]
fn every_tenth_reply_is_preceded_by_a_ping() {
    let server = start(Impairments { ping_every: 10, ..none() });
    let mut peer = WirePeer::open(server.address());
    let ping = || Received::ping("impaired");
    let expected: Vec<Received> = (0..1000)
        .flat_map(|number| if number % 10 == 9 { vec![ping(), reply(number)] } else { vec![reply(number)] })
        .collect();
    assert_eq!(replies(&server, &mut peer, 1000), expected);
    for _ in 0..100 {
        peer.send(&Frame::pong("impaired"));
    }
    wait_until(&server, |counts| counts.pongs_received == 100);
    assert_eq!(counts_of(server, 1000, 1000).pings_sent, 100);
}

#[test]
fn every_tenth_reply_is_fragmented() {
    let server = start(Impairments { fragment_every: 10, ..none() });
    let mut peer = WirePeer::open(server.address());
    let mut expected = Vec::new();
    for number in 0..1000 {
        let whole = reply(number).payload;
        if number % 10 == 9 {
            expected.push(Received { first: 0x01, payload: whole[..4].to_vec() });
            expected.push(Received { first: 0x00, payload: whole[4..9].to_vec() });
            expected.push(Received { first: 0x80, payload: whole[9..].to_vec() });
        } else {
            expected.push(reply(number));
        }
    }
    assert_eq!(replies(&server, &mut peer, 1000), expected);
    assert_eq!(counts_of(server, 1000, 1000).fragmented, 100);
}

#[test]
fn every_tenth_reply_is_followed_by_an_unasked_for_message() {
    let server = start(Impairments { unasked_every: 10, unasked_payload: b"news".to_vec(), ..none() });
    let mut peer = WirePeer::open(server.address());
    let expected: Vec<Received> = (0..1000)
        .flat_map(|number| {
            let news = (number % 10 == 9).then(|| Received::text("news"));
            [reply(number)].into_iter().chain(news)
        })
        .collect();
    assert_eq!(replies(&server, &mut peer, 1000), expected);
    assert_eq!(counts_of(server, 1000, 1000).unasked, 100);
}

#[test]
fn faults_are_counted_over_all_connections() {
    let server = start(Impairments { drop_every: 7, duplicate_every: 5, ..none() });
    let mut peers: Vec<WirePeer> = (0..10).map(|_| WirePeer::open(server.address())).collect();
    let received: usize = peers.iter_mut().map(|peer| replies(&server, peer, 33).len()).sum();
    let counts = counts_of(server, 330, 283);
    assert_eq!((counts.dropped, counts.duplicated, received), (47, 66, 283 + 66));
}

#[test]
fn pings_stay_unanswered_if_so_wanted() {
    let server = start(Impairments { ignore_pings: true, ..none() });
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::ping("p"));
    peer.expect_echo("the reply is the next frame");
    let counts = server.stop().counts;
    assert_eq!((counts.pings_received, counts.pongs_sent), (1, 0));
}

#[test]
fn no_reply_comes_before_its_delay_and_the_server_reports_how_late_each_one_is() {
    const DELAY: Duration = Duration::from_millis(3);
    let server = start(Impairments { delay: DELAY, ..none() });
    let mut peers = [WirePeer::open(server.address()), WirePeer::open(server.address())];
    let mut seen = Vec::new();
    for round in 0..100 {
        for peer in &mut peers {
            let text = format!("round {round}");
            let sent = Instant::now();
            peer.expect_echo(&text);
            seen.push(sent.elapsed());
        }
    }
    let report = server.stop();
    assert_eq!((report.delays.len(), report.counts.answered), (200, 200));
    for (delay, seen) in report.delays.iter().zip(&seen) {
        assert!(DELAY <= *delay && delay <= seen, "the server has taken {delay:?}, and the client has seen {seen:?}");
    }
}

#[test]
fn all_messages_of_a_connection_are_delayed_alike() {
    let server = start(Impairments { delay: Duration::from_millis(20), ..none() });
    let mut peer = WirePeer::open(server.address());
    for number in 0..500 {
        peer.send(&Frame::text(format!("message {number:06}")));
    }
    let replies: Vec<Received> = (0..500).map(|_| peer.frame()).collect();
    assert_eq!(replies, (0..500).map(reply).collect::<Vec<_>>());
    assert!(server.stop().delays.iter().all(|delay| *delay >= Duration::from_millis(20)));
}

#[test]
fn a_rate_is_never_exceeded_and_its_queue_is_unbounded() {
    const RATE: u32 = 2_000;
    let server = start(Impairments { rate: Some(RATE), ..none() });
    let mut peers: Vec<WirePeer> = (0..4).map(|_| WirePeer::open(server.address())).collect();
    let sent = Instant::now();
    for peer in &mut peers {
        let frames: Vec<u8> = (0..250).flat_map(|number| Frame::text(format!("message {number:06}")).bytes()).collect();
        peer.write(frames);
    }
    wait_until(&server, |counts| counts.messages == 1000);
    for peer in &mut peers {
        for number in 0..250 {
            assert_eq!(peer.frame(), reply(number));
            let after = sent.elapsed().as_secs_f64();
            let answered = server.counts().answered as f64;
            let allowed = sent.elapsed().as_secs_f64() * f64::from(RATE);
            assert!(answered <= allowed, "{answered} replies in {after} s at {RATE} a second");
        }
    }
    let counts = counts_of(server, 1000, 1000);
    assert!(counts.max_waiting <= 1000 && counts.waiting == 0, "{counts:?}");
}

#[test]
fn a_queue_limit_stops_reading() {
    let server = start(Impairments { rate: Some(500), queue_limit: 10, ..none() });
    let mut peer = WirePeer::open(server.address());
    // One message a read, so that the queue has at most its limit.
    let stream: Vec<u8> = (0..100_u32)
        .flat_map(|number| Frame::binary([&number.to_be_bytes()[..], &[7; 64 << 10]].concat()).bytes())
        .collect();
    let mut writer = peer.writer();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write(&stream));
        for number in 0..100_u32 {
            assert_eq!(peer.frame().payload[..4], number.to_be_bytes());
        }
    });
    let counts = counts_of(server, 100, 100);
    assert_eq!(counts.max_waiting, 10, "{counts:?}");
}

/// Backpressure reaches the client: it cannot send more than the buffers of the kernel hold, its
/// own of 4 MiB at most (tcp_wmem of tcp(7)) and the server's.
#[test]
fn with_a_small_receive_buffer_a_full_queue_soon_stops_the_client() {
    let impairments = Impairments { delay: WATCHDOG, queue_limit: 5, receive_buffer: Some(16 << 10), ..none() };
    let server = start(impairments);
    let mut peer = WirePeer::open(server.address());
    let stream = Frame::binary(vec![7; 1 << 20]).bytes().repeat(20);
    let mut at = 0;
    while let written @ 1.. = peer.write_some(&stream[at..]) {
        at += written;
    }
    let counts = server.stop().counts;
    assert_eq!((counts.messages, counts.waiting, counts.max_waiting), (5, 5, 5));
    assert!((5 << 20..15 << 20).contains(&at), "{at} bytes were accepted");
}

#[test]
fn one_connection_in_three_ends_after_five_replies() {
    for how in [EndingKind::Close(1011), EndingKind::Finish, EndingKind::Reset] {
        let server = start(Impairments { ending: Some(PlannedEnding { one_in: 3, after: 5, how }), ..none() });
        let mut ended = 0;
        for number in 1..=9 {
            let mut peer = WirePeer::open(server.address());
            (0..5).for_each(|_| peer.expect_echo("hello"));
            if number % 3 != 0 {
                peer.expect_echo("and on");
                continue;
            }
            ended += 1;
            match how {
                EndingKind::Close(code) => {
                    assert_eq!(peer.close_code(), Some(code));
                    peer.send(&Frame::text("too late"));
                    peer.send(&Frame::close(code, ""));
                    assert_eq!(peer.end(), End::Finished);
                }
                EndingKind::Finish => assert_eq!(peer.end(), End::Finished),
                EndingKind::Reset => assert_eq!(peer.end(), End::Reset),
            }
        }
        let late = if matches!(how, EndingKind::Close(_)) { 3 } else { 0 };
        let counts = counts_of(server, 51 + late, 51);
        assert_eq!(
            (counts.ended, counts.undelivered, counts.closed_by_client),
            (ended, late, 0),
            "{how:?}: {counts:?}"
        );
    }
}

#[test]
fn messages_that_wait_when_the_server_stops_are_counted() {
    let server = start(Impairments { delay: WATCHDOG, ..none() });
    let (mut stays, mut leaves) = (WirePeer::open(server.address()), WirePeer::open(server.address()));
    stays.send(&Frame::text("waits"));
    leaves.send(&Frame::text("waits too"));
    wait_until(&server, |counts| counts.waiting == 2);
    leaves.reset();
    assert_eq!(counts_of(server, 2, 0).waiting, 2);
    // Unread bytes may turn the end into a reset.
    assert!(stays.try_frame().is_err());
}
