//! `bridge`

use crate::process::Process;
use ringway_tests::{End, Frame, RawRequest, WirePeer, accepting};
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// The other server, and a bridge to it.
fn start() -> (TcpListener, Process, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}/", listener.local_addr().expect("it is bound"));
    let bridge = Process::start("bridge", &["127.0.0.1:0", &url]);
    let address = bridge.address();
    (listener, bridge, address)
}

/// Waits for the connection of the bridge, and reads its request.
fn accept(listener: &TcpListener) -> (WirePeer, String) {
    let mut server = WirePeer::accepted(listener.accept().expect("the bridge connects").0);
    let head = server.head();
    (server, head)
}

/// Both ends of a pair: the client and the other server.
fn pair(listener: &TcpListener, address: SocketAddr) -> (WirePeer, WirePeer) {
    let mut client = WirePeer::connect(address);
    client.write(RawRequest::websocket().bytes());
    let (mut server, head) = accept(listener);
    server.write(accepting(&head));
    client.expect_upgrade();
    (client, server)
}

#[test]
fn messages_of_both_kinds_pass_in_both_directions() {
    let (listener, _bridge, address) = start();
    let (mut client, mut server) = pair(&listener, address);
    client.send(&Frame::text("ümlaut"));
    client.send(&Frame::binary([0, 255]));
    let (text, binary) = (server.masked_frame().0, server.masked_frame().0);
    assert_eq!((text.first, text.payload.as_slice()), (0x81, "ümlaut".as_bytes()));
    assert_eq!((binary.first, binary.payload.as_slice()), (0x82, &[0, 255][..]));
    server.send(&Frame::text("back").unmasked());
    server.send(&Frame::binary([1; 70_000]).unmasked());
    let (text, binary) = (client.frame(), client.frame());
    assert_eq!((text.first, text.payload.as_slice()), (0x81, &b"back"[..]));
    assert_eq!((binary.first, binary.payload.len()), (0x82, 70_000));
}

#[test]
fn the_other_server_chooses_the_subprotocol() {
    let (listener, _bridge, address) = start();
    let mut client = WirePeer::connect(address);
    client.write(RawRequest::websocket().with("Sec-WebSocket-Protocol", "chat, v2").bytes());
    let (mut server, head) = accept(&listener);
    assert!(head.to_ascii_lowercase().contains("sec-websocket-protocol: chat, v2"), "{head}");
    let head = accepting(&head);
    let head = head.strip_suffix("\r\n").expect("a head ends with a blank line");
    server.write(format!("{head}Sec-WebSocket-Protocol: v2\r\n\r\n"));
    // The first message waits until the client is accepted.
    server.send(&Frame::text("first").unmasked());
    assert_eq!(client.expect_upgrade().field("sec-websocket-protocol"), Some("v2"));
    assert_eq!(client.frame().payload, b"first");
}

#[test]
fn a_close_frame_passes_with_its_code_and_reason() {
    let (listener, _bridge, address) = start();
    let (mut client, mut server) = pair(&listener, address);
    client.send(&Frame::close(4001, "enough"));
    let (frame, _) = server.masked_frame();
    assert_eq!((frame.close_code(), &frame.payload[2..]), (Some(4001), &b"enough"[..]));
    assert_eq!(client.close_code(), Some(4001));

    let (mut client, mut server) = pair(&listener, address);
    server.send(&Frame::close(1012, "restart").unmasked());
    let frame = client.frame();
    assert_eq!((frame.close_code(), &frame.payload[2..]), (Some(1012), &b"restart"[..]));
}

#[test]
fn the_loss_of_one_connection_closes_the_other() {
    let (listener, _bridge, address) = start();
    let (mut client, server) = pair(&listener, address);
    server.reset();
    assert_eq!(client.close_code(), Some(1014));

    let (client, mut server) = pair(&listener, address);
    client.reset();
    assert_eq!(server.masked_frame().0.close_code(), Some(1001));
}

#[test]
fn a_client_gets_502_without_the_other_server() {
    let (listener, bridge, address) = start();
    drop(listener);
    let mut client = WirePeer::connect(address);
    client.write(RawRequest::websocket().bytes());
    assert_eq!(client.response().status, 502);
    assert_eq!(client.end(), End::Finished);
    assert!(bridge.notice().starts_with("bridge: "));
}

/// 64 MiB for a client that reads nothing until the other server cannot write any more.
#[test]
fn a_slow_client_stops_the_other_server_and_loses_nothing() {
    const MESSAGES: usize = 1024;
    const SIZE: usize = 64 << 10;
    let (listener, _bridge, address) = start();
    let mut client = WirePeer::connect_narrow(address);
    client.write(RawRequest::websocket().bytes());
    let (mut server, head) = accept(&listener);
    server.write(accepting(&head));
    client.expect_upgrade();
    let frames: Vec<u8> = (0..MESSAGES)
        .flat_map(|number| {
            let mut payload = vec![0; SIZE];
            payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
            Frame::binary(payload).unmasked().bytes()
        })
        .collect();
    let mut sent = 0;
    loop {
        match server.write_some(&frames[sent..]) {
            0 => break,
            count => sent += count,
        }
    }
    // The rest waits in the other server: the bridge and the buffers of the kernel have limits.
    assert!(sent < frames.len() / 2, "{sent} of {} bytes", frames.len());
    let sending = thread::spawn(move || server.write(&frames[sent..]));
    for number in 0..MESSAGES {
        let frame = client.frame();
        assert_eq!((frame.payload.len(), &frame.payload[..8]), (SIZE, &(number as u64).to_be_bytes()[..]));
    }
    sending.join().expect("it has sent all");
}
