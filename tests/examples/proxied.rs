//! `proxied`

use crate::process::Process;
use ringway_tests::{RawRequest, Received, WirePeer};
use std::net::SocketAddr;

/// The greeting for a client that sends these bytes first, and this value of `X-Forwarded-For`.
fn greeting(server: SocketAddr, first: &str, forwarded: Option<&str>) -> Received {
    let mut peer = WirePeer::connect(server);
    peer.write(first);
    let request = RawRequest::websocket();
    let request = forwarded.map_or(request.clone(), |value| request.with("X-Forwarded-For", value));
    peer.write(request.bytes());
    peer.expect_upgrade();
    peer.frame()
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let process = Process::start("proxied", &["127.0.0.1:0", "127.0.0.0/8"]);
    let server = process.address();
    for (forwarded, address) in [
        (None, "127.0.0.1"),
        (Some("203.0.113.7"), "203.0.113.7"),
        (Some("198.51.100.1, 203.0.113.7"), "203.0.113.7"),
        (Some("203.0.113.7, 127.0.0.9"), "203.0.113.7"),
    ] {
        assert_eq!(greeting(server, "", forwarded), Received::text(&format!("you come from {address}")));
    }
}

#[test]
fn a_client_that_is_no_proxy_is_not_believed() {
    let process = Process::start("proxied", &["127.0.0.1:0", "10.0.0.0/8"]);
    let address = "you come from 127.0.0.1";
    assert_eq!(greeting(process.address(), "", Some("203.0.113.7")), Received::text(address));
}

#[test]
fn the_header_of_the_proxy_protocol_is_required_if_it_is_asked_for() {
    let process = Process::start("proxied", &["127.0.0.1:0", "127.0.0.0/8", "proxy-protocol"]);
    let server = process.address();
    let header = "PROXY TCP4 203.0.113.7 127.0.0.1 50000 80\r\n";
    assert_eq!(greeting(server, header, None), Received::text("you come from 203.0.113.7"));
    let mut peer = WirePeer::connect(server);
    peer.write(RawRequest::websocket().bytes());
    // No byte of an answer comes before the end.
    peer.end();
}
