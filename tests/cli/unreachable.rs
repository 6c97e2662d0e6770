//! What `ringway load` says about servers that it cannot reach or that are none: one line on
//! standard error with the reason and, where there is one, the remedy, and exit code 1.

use ringway_tests::{Ended, TestServer, ringway, run};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

fn load(url: &str, arguments: &[&str]) -> Ended {
    run(ringway(&[&["load", url, "-c", "2", "-n", "10", "-t", "1", "-q"], arguments].concat()))
}

/// Checks the exit code, and that the only line of stderr has these parts.
fn check(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(code), 1), "{ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} in {ended:?}");
    }
}

/// A server that reads the heads of two requests and answers each with this text.
fn answering(answer: &'static str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let serve = move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut head = Vec::new();
            let mut buffer = [0; 1024];
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buffer).expect("the client sends a request") {
                    0 => break,
                    read => head.extend_from_slice(&buffer[..read]),
                }
            }
            stream.write_all(answer.as_bytes()).expect("the client reads");
        }
    };
    (address, thread::spawn(serve))
}

#[test]
fn a_refused_connection_is_named_with_its_address() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let ended = load(&format!("ws://{nobody}/"), &[]);
    check(
        &ended,
        1,
        &["none of 2 connections", &nobody.to_string(), "refused", "is the server running, and on this port?"],
    );
    assert!(ended.stdout.contains("connections  0 of 2, 2 failed\n             failed at: TCP 2\n"), "{ended:?}");
    assert!(ended.stdout.contains("nothing was measured") && !ended.stdout.contains("limited by"), "{ended:?}");
}

#[test]
fn a_server_of_plain_http_is_shown_with_its_status() {
    for (answer, parts) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &["200", "does not speak WebSocket on this path"][..]),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", &["404", "path of the URL"]),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", &["401", "--bearer"]),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", &["403 Forbidden", "--origin"]),
        ("HTTP/1.1 301 Moved Permanently\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", &["301", "redirect"]),
        ("SSH-2.0-OpenSSH_9.6\r\n", &["handshake_invalid", "may not speak HTTP"]),
    ] {
        let (address, server) = answering(answer);
        let ended = load(&format!("ws://{address}/"), &[]);
        check(&ended, 1, parts);
        server.join().expect("no assertion has failed");
    }
}

#[test]
fn tls_to_a_plain_port_is_named() {
    let server = TestServer::echo();
    let ended = load(&format!("wss://{}/", server.address()), &["-k"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("use ws://"), "{ended:?}");
}

#[test]
fn an_unknown_host_is_named_with_the_remedy() {
    // RFC 6761 section 6.4: names below .invalid do not exist.
    let ended = load("ws://nobody.invalid:9001/", &[]);
    let line = ended.line(1);
    assert!(line.contains("\"nobody.invalid\"") && line.contains("--resolve HOST:PORT:ADDR"), "{line}");
}

#[test]
fn a_missing_unix_socket_is_named() {
    let ended = load("unix:/nowhere/app.sock:/", &[]);
    check(&ended, 1, &["/nowhere/app.sock", "check the path"]);
}
