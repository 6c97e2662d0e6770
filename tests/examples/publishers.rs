//! `publishers`

use crate::process::Process;
use ringway_tests::{RawRequest, Received, WirePeer};
use std::net::SocketAddr;

fn subscribe(address: SocketAddr, topics: &str) -> WirePeer {
    let mut peer = WirePeer::connect(address);
    peer.write(RawRequest::websocket().line(format!("GET /?{topics} HTTP/1.1")).bytes());
    peer.expect_upgrade();
    assert_eq!(peer.frame(), Received::text("subscribed"));
    peer
}

#[test]
fn lines_reach_those_who_have_subscribed_in_their_order() {
    let mut server = Process::start("publishers", &["127.0.0.1:0"]);
    let address = server.address();
    let mut weather = subscribe(address, "topic=weather");
    let mut both = subscribe(address, "topic=weather&topic=news");
    server.say("weather rain");
    server.say("news nothing happened");
    server.say("weather");
    server.say("weather sun and wind");
    assert_eq!([weather.frame(), weather.frame()], [Received::text("rain"), Received::text("sun and wind")]);
    let texts = ["rain", "nothing happened", "sun and wind"];
    assert_eq!([both.frame(), both.frame(), both.frame()], texts.map(Received::text));
    assert_eq!(server.notice(), "publishers: not published, because it has no text: \"weather\"");
    server.end_input();
    assert_eq!(weather.close_code(), Some(1001));
}

#[test]
fn the_clock_is_published_by_another_thread() {
    let server = Process::start("publishers", &["127.0.0.1:0"]);
    let mut clock = subscribe(server.address(), "topic=clock");
    let second = |frame: Received| String::from_utf8(frame.payload).ok().and_then(|text| text.parse::<u64>().ok());
    let first = second(clock.frame()).expect("a number");
    assert_eq!(second(clock.frame()), Some(first + 1));
}

#[test]
fn a_client_without_a_topic_is_refused() {
    let server = Process::start("publishers", &["127.0.0.1:0"]);
    let mut peer = WirePeer::connect(server.address());
    peer.write(RawRequest::websocket().bytes());
    assert_eq!(peer.response().status, 400);
}
