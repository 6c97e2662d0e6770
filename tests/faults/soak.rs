//! All bad inputs, a hundred thousand times: to a server in this process, and to the program, which
//! has another allocator. Memory and descriptors must not grow.

use ringway_tests::bad_input::{self, BadInput};
use ringway_tests::{
    Echo, Frame, RawRequest, ServerProcess, TestServer, WATCHDOG, WirePeer, config, open_files, resident_kib,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Connections to each of the two, after the warm-up.
const CONNECTIONS: usize = 50_000;
/// Enough for every pool, table and arena to reach its final size.
const WARM_UP: usize = 10_000;
const THREADS: usize = 6;

/// The two run in sequence, because the peers of both are in this process.
#[test]
fn a_hundred_thousand_bad_peers_leak_no_memory_and_no_descriptors() {
    let server = TestServer::start(config(), bad_input::limits(), |_| Echo);
    // The limit is 40 bytes per connection. Measured: 550 to 850 KiB, which later rounds hardly
    // increase, because the arenas of the peers' threads are in this process too. A leaked session
    // would add over 4 MiB, a leaked head 400 MiB.
    soak(server.address(), std::process::id(), 2048);
    server.wait_until_empty();
    drop(server);
    let serving = serve();
    // Less than 11 bytes per connection. Measured: none.
    soak(serving.address(), serving.pid(), 512);
}

/// Sends all inputs to `server`, which runs in process `pid`, and checks its memory and
/// descriptors.
fn soak(server: SocketAddr, pid: u32, max_growth_kib: usize) {
    let files = open_files(pid);
    run(server, WARM_UP);
    wait_for_files(pid, files);
    let memory = resident_kib(pid, "VmRSS");
    let began = Instant::now();
    run(server, CONNECTIONS);
    wait_for_files(pid, files);
    let grown = resident_kib(pid, "VmRSS").saturating_sub(memory);
    println!(
        "resident: {memory} KiB before, {grown} KiB more after {CONNECTIONS} connections in {:?}",
        began.elapsed()
    );
    assert!(grown < max_growth_kib, "{grown} KiB more are resident; {memory} KiB were");
    WirePeer::open(server).expect_echo("alive and well");
}

/// `ringway serve` with the limits of [`bad_input::limits`] and as few buffers as [`config`] has.
fn serve() -> ServerProcess {
    ServerProcess::with(&[
        "--shards=1",
        "--buffers=64",
        &format!("--max-message={}", bad_input::MAX_MESSAGE),
        &format!("--max-head={}", bad_input::MAX_HEAD),
        &format!("--max-headers={}", bad_input::MAX_HEADERS),
    ])
}

fn run(server: SocketAddr, connections: usize) {
    let next = AtomicUsize::new(0);
    let inputs = bad_input::all();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (next, inputs) = (&next, &inputs);
            // Each thread has its own address, so that it does not run out of ports.
            let source = Ipv4Addr::new(127, 0, 0, 1 + thread as u8);
            scope.spawn(move || {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= connections {
                        break;
                    }
                    one(server, source, inputs, turn);
                }
            });
        }
    });
}

/// One faulty connection: the inputs in turn, and between them peers that disconnect.
fn one(server: SocketAddr, source: Ipv4Addr, inputs: &[BadInput], turn: usize) {
    let mut peer = WirePeer::connect_from(server, source);
    // Frees the port at once: there are more connections than ports.
    peer.reset_on_drop();
    match turn % (inputs.len() + 4) {
        0 => peer.write(&RawRequest::websocket().bytes()[..60]),
        1 => {
            peer.upgrade();
            peer.write(&Frame::binary([0; 9000]).bytes()[..5000]);
        }
        2 => {
            peer.upgrade();
            peer.write(&Frame::text([b'a'; 200]).bytes()[..100]);
            peer.finish();
            peer.end();
        }
        3 => {
            peer.upgrade();
            peer.expect_echo("nothing wrong with this one");
        }
        other => inputs[other - 4].perform(&mut peer),
    }
}

/// Waits until a process has this many descriptors: the process and the kernel close them
/// asynchronously.
fn wait_for_files(pid: u32, files: usize) {
    let deadline = Instant::now() + WATCHDOG;
    while open_files(pid) != files {
        assert!(Instant::now() < deadline, "{} descriptors are open, {files} were", open_files(pid));
        std::thread::yield_now();
    }
}
