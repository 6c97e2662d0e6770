//! `client`

use crate::process::Process;
use ringway_tests::{End, Frame, Received, WirePeer, accepting};
use std::net::TcpListener;

/// No other test has a port of this address, so that one that was given back can be had again.
const ADDRESS: &str = "127.77.0.1:0";

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(ADDRESS).expect("a free port");
    let url = format!("ws://{}/path?q=1", listener.local_addr().expect("it is bound"));
    (listener, url)
}

/// Waits for the client, and reads its request.
fn accept(listener: &TcpListener) -> (WirePeer, String) {
    let mut peer = WirePeer::accepted(listener.accept().expect("the client connects").0);
    let head = peer.head();
    assert!(head.starts_with("GET /path?q=1 HTTP/1.1\r\n"), "{head}");
    (peer, head)
}

fn open(listener: &TcpListener) -> WirePeer {
    let (mut peer, head) = accept(listener);
    peer.write(accepting(&head));
    peer
}

fn message(peer: &mut WirePeer) -> String {
    let (frame, _) = peer.masked_frame();
    assert_eq!(frame.first, 0x81, "{frame:?}");
    String::from_utf8(frame.payload).expect("UTF-8")
}

#[test]
fn lines_are_sent_and_messages_printed() {
    let (listener, url) = listen();
    let mut client = Process::start("client", &[&url]);
    // What is said before the connection is open waits for it.
    client.say("first");
    let mut server = open(&listener);
    assert_eq!(client.notice(), "client: connected");
    client.say("second, ümlaut");
    assert_eq!([message(&mut server), message(&mut server)], ["first", "second, ümlaut"]);
    server.send(&Frame::text("answer").unmasked());
    server.send(&Frame::text("\x1b[2Jbad\nline").unmasked());
    server.send(&Frame::binary([0; 5]).unmasked());
    assert_eq!([client.line(), client.line()], ["answer", "\u{fffd}[2Jbad\u{fffd}line"]);
    assert_eq!(client.line(), "(5 binary bytes)");
    client.say("last");
    client.end_input();
    assert_eq!(message(&mut server), "last");
    // It waits for the answers to what it has sent.
    let (ping, _) = server.masked_frame();
    assert_eq!(ping.first, 0x89, "{ping:?}");
    server.send(&Frame::text("to the last").unmasked());
    server.send(&Frame::pong(&ping.payload).unmasked());
    assert_eq!(client.line(), "to the last");
    assert_eq!(server.masked_frame().0.close_code(), Some(1000));
    server.send(&Frame::close(1000, "").unmasked());
    drop(server);
    let (status, notices) = client.wait();
    assert!(status.success() && notices.is_empty(), "{status} {notices:?}");
}

#[test]
fn a_restart_of_the_server_is_survived() {
    let (listener, url) = listen();
    let address = listener.local_addr().expect("it is bound");
    let mut client = Process::start("client", &[&url]);
    let mut server = open(&listener);
    client.say("before");
    assert_eq!(message(&mut server), "before");
    assert_eq!(client.notice(), "client: connected");
    // The server goes, as one that is restarted does.
    drop(listener);
    server.send(&Frame::close(1001, "restarting").unmasked());
    assert_eq!(server.masked_frame().0.close_code(), Some(1001));
    drop(server);
    let notice = client.notice();
    assert!(notice.contains("1001 \"restarting\", closed by the peer; connecting again in "), "{notice}");
    // While it is away, the client tries at growing intervals.
    let delays: Vec<u64> = (0..4).map(|_| delay(&client.notice())).collect();
    assert!(delays.is_sorted() && delays[3] >= 4 * delays[0].min(100), "{delays:?}");
    client.say("meanwhile");
    let listener = TcpListener::bind(address).expect("the port is still free");
    let mut server = open(&listener);
    assert_eq!(message(&mut server), "meanwhile");
    server.send(&Frame::text("back").unmasked());
    assert_eq!(client.line(), "back");
    // A connection that breaks is the same.
    server.reset();
    let mut server = open(&listener);
    client.say("again");
    assert_eq!(message(&mut server), "again");
}

/// The delay of `client: cannot connect: …; connecting again in 150 ms`.
fn delay(notice: &str) -> u64 {
    assert!(notice.starts_with("client: cannot connect: "), "{notice}");
    let delay =
        notice.rsplit_once("; connecting again in ").and_then(|(_, rest)| rest.strip_suffix(" ms")?.parse().ok());
    delay.unwrap_or_else(|| panic!("no delay: {notice}"))
}

#[test]
fn a_request_that_is_refused_is_not_repeated() {
    let (listener, url) = listen();
    let client = Process::start("client", &[&url, "http://page.test"]);
    let (mut server, head) = accept(&listener);
    assert!(head.contains("\r\nOrigin: http://page.test\r\n"), "{head}");
    server.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let (status, notices) = client.wait();
    assert_eq!(status.code(), Some(1));
    assert!(matches!(&notices[..], [notice] if notice.contains("403")), "{notices:?}");
}

#[test]
fn a_server_that_is_overloaded_is_asked_again() {
    let (listener, url) = listen();
    let client = Process::start("client", &[&url]);
    let (mut server, _) = accept(&listener);
    server.write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let notice = client.notice();
    assert!(notice.contains("503") && notice.contains("connecting again in "), "{notice}");
    open(&listener);
}

#[test]
fn a_close_of_the_server_with_1000_ends_the_client() {
    let (listener, url) = listen();
    let client = Process::start("client", &[&url]);
    let mut server = open(&listener);
    server.send(&Frame::close(1000, "done").unmasked());
    assert_eq!(server.masked_frame().0, Received { first: 0x88, payload: 1000_u16.to_be_bytes().to_vec() });
    drop(server);
    assert!(client.wait().0.success());
}

#[test]
fn a_long_backlog_waits_for_a_server_that_reads_slowly() {
    let (listener, url) = listen();
    let mut client = Process::start("client", &[&url]);
    let mut server = open(&listener);
    let line = "x".repeat(100_000);
    // 20 MB: more than the queue of the connection and the buffers of the kernel hold.
    let writer = std::thread::spawn(move || {
        for number in 0..200 {
            client.say(&format!("{number} {line}"));
        }
        client.end_input();
        client
    });
    for number in 0..200 {
        let text = message(&mut server);
        assert!(text.starts_with(&format!("{number} x")) && text.len() > 100_000, "{number}");
    }
    let (ping, _) = server.masked_frame();
    server.send(&Frame::pong(&ping.payload).unmasked());
    assert_eq!(server.masked_frame().0.close_code(), Some(1000));
    server.send(&Frame::close(1000, "").unmasked());
    server.finish();
    assert_eq!(server.end(), End::Finished);
    assert!(writer.join().expect("no assertion in it").wait().0.success());
}

#[test]
fn a_url_that_is_none_is_an_error() {
    for (arguments, what) in
        [(&[][..], "client: give the URL of a server"), (&["http://127.0.0.1/"], "client: "), (&["wss://"], "client: ")]
    {
        let (status, notices) = Process::start("client", arguments).wait();
        assert_eq!(status.code(), Some(1), "{arguments:?}");
        assert!(matches!(&notices[..], [notice] if notice.starts_with(what)), "{notices:?}");
    }
}
