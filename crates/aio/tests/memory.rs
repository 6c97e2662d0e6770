//! The memory of idle streams, everything included: engine, driver, stream and task.

use allocation_counter::measure;
use ringway_aio::Acceptor;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Poll, Waker};
use tokio::task::JoinHandle;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked "hi", with a key of zeros.
const MESSAGE: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];

/// The maximum for one idle stream in bytes.
const MAX: i64 = 1024;

/// Opens streams whose tasks wait for a second message, and waits until all of them have echoed the
/// first one.
async fn open(sockets: Vec<UnixStream>, tasks: &mut Vec<JoinHandle<()>>) {
    let count = sockets.len();
    let (open, waiter) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None::<Waker>)));
    for socket in sockets {
        let (open, waiter) = (Rc::clone(&open), Rc::clone(&waiter));
        tasks.push(tokio_uring::spawn(async move {
            let mut ws = Acceptor::new().accept_socket(socket).await.expect("it opens");
            let message = ws.next().await.expect("a message").expect("no error");
            ws.send(message).await.expect("it is open");
            ws.flush().await.expect("it is open");
            open.set(open.get() + 1);
            waiter.take().into_iter().for_each(Waker::wake);
            drop((open, waiter));
            assert!(ws.next().await.is_none());
        }));
    }
    poll_fn(|cx| {
        *waiter.borrow_mut() = Some(cx.waker().clone());
        if open.get() == count { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn an_idle_stream_takes_at_most_a_kibibyte() {
    // `None`: there is no limit.
    let limit = ringway::raise_descriptor_limit().expect("a limit").soft.unwrap_or(u64::MAX);
    let streams = 10_000.min((limit.saturating_sub(200) / 2) as usize);
    if streams < 10_000 {
        println!("NOTE: only {streams} streams, because the limit of open files is {limit}");
    }
    let (mut first, mut peers): (Vec<UnixStream>, Vec<UnixStream>) =
        (0..streams).map(|_| UnixStream::pair().expect("descriptors")).unzip();
    for peer in &mut peers {
        peer.write_all(REQUEST).expect("it is open");
        peer.write_all(MESSAGE).expect("it is open");
    }
    let runtime = tokio_uring::Runtime::new(&tokio_uring::builder()).expect("io_uring");
    let mut tasks = Vec::with_capacity(streams);
    // The first tenth makes what all share: buffers, tables, the shard.
    let measured = first.split_off(streams / 10);
    let count = measured.len() as i64;
    runtime.block_on(open(first, &mut tasks));
    let grown = measure(|| runtime.block_on(open(measured, &mut tasks))).bytes_current;
    println!("{} bytes for each of {streams} idle streams", grown / count);
    assert!(grown / count <= MAX, "{} bytes", grown / count);
    assert!(grown / count >= 100, "not everything was measured: {} bytes", grown / count);
    for peer in &mut peers {
        let mut received = Vec::new();
        // The response, and the echo behind it.
        while !received.ends_with(&[0x81, 2, b'h', b'i']) {
            let mut bytes = [0; 1024];
            let len = peer.read(&mut bytes).expect("the response");
            received.extend_from_slice(&bytes[..len]);
        }
        assert!(received.starts_with(b"HTTP/1.1 101 "));
    }
    drop(tasks);
}
