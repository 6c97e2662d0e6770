//! Tests the echo on epoll through clients.

use super::epoll;
use rustix::event::{EventfdFlags, eventfd};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

/// Runs `clients` against an echo.
fn with_echo(clients: impl FnOnce(SocketAddr)) {
    let listener = epoll::listen(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let stop = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    thread::scope(|scope| {
        let server = scope.spawn(|| epoll::serve(&listener, &stop));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| clients(address)));
        rustix::io::write(&stop, &1_u64.to_ne_bytes()).expect("it is not full");
        server.join().expect("no panic").expect("it echoes");
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

fn bytes(count: usize, salt: usize) -> Vec<u8> {
    (0..count).map(|at| ((at + salt) % 251) as u8).collect()
}

#[test]
fn each_connection_gets_its_own_bytes_back() {
    with_echo(|address| {
        let mut streams: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(address).expect("it accepts")).collect();
        for size in [1, 20, 16 << 10] {
            for (salt, stream) in streams.iter_mut().enumerate() {
                stream.write_all(&bytes(size, salt)).expect("it reads");
            }
            for (salt, stream) in streams.iter_mut().enumerate() {
                let mut echo = vec![0; size];
                stream.read_exact(&mut echo).expect("it echoes");
                assert!(echo == bytes(size, salt), "{size} bytes of connection {salt}");
            }
        }
    });
}

#[test]
fn a_slow_reader_loses_no_bytes_and_does_not_delay_others() {
    const LARGE: usize = 64 << 20;
    with_echo(|address| {
        let mut slow = TcpStream::connect(address).expect("it accepts");
        let mut writer = slow.try_clone().expect("a descriptor");
        // More than the socket buffers of both sides hold, so that the echo can write only a part
        // at first.
        let sent = bytes(LARGE, 7);
        thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&sent).expect("it is read in the end");
                writer.shutdown(Shutdown::Write).expect("it is connected");
            });
            let mut other = TcpStream::connect(address).expect("it accepts");
            for round in 0..100 {
                let message = bytes(20, round);
                other.write_all(&message).expect("it reads");
                let mut echo = vec![0; message.len()];
                other.read_exact(&mut echo).expect("it echoes");
                assert_eq!(echo, message);
            }
            let mut echo = Vec::new();
            slow.read_to_end(&mut echo).expect("it ends as the sender does");
            assert!(echo == sent, "{} of {LARGE} bytes", echo.len());
        });
    });
}

#[test]
fn a_client_that_resets_its_connection_ends_only_that_connection() {
    with_echo(|address| {
        let mut stays = TcpStream::connect(address).expect("it accepts");
        for _ in 0..20 {
            let mut goes = TcpStream::connect(address).expect("it accepts");
            // With unread bytes, closing sends a reset.
            goes.write_all(&bytes(1000, 0)).expect("it reads");
            goes.read_exact(&mut [0]).expect("it echoes");
            drop(goes);
        }
        stays.write_all(b"still here").expect("it reads");
        let mut echo = [0; 10];
        stays.read_exact(&mut echo).expect("it echoes");
        assert_eq!(&echo, b"still here");
    });
}
