//! (h) Datagrams that are lost: each one is counted as lost, and no other one is.

use crate::frame::{Proof, prove};
use crate::generator::load;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// A server that sends datagrams back, except each one whose number is a multiple of `drop_every`.
struct LossyServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    dropped: Arc<AtomicU64>,
    /// Ends with the number of datagrams that it has received.
    thread: JoinHandle<u64>,
}

impl LossyServer {
    fn start(drop_every: u64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        let (stop, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, lost) = (Arc::clone(&stop), Arc::clone(&dropped));
        let serve = move || {
            let mut bytes = [0; 2048];
            for number in 1_u64.. {
                let (len, peer) = socket.recv_from(&mut bytes).expect("open");
                if stopped.load(Ordering::Acquire) {
                    return number - 1;
                }
                if number.is_multiple_of(drop_every) {
                    lost.fetch_add(1, Ordering::Relaxed);
                } else {
                    socket.send_to(&bytes[..len], peer).expect("room");
                }
            }
            unreachable!("the numbers end after centuries")
        };
        Self { address, stop, dropped, thread: thread::spawn(serve) }
    }

    /// Ends it. Returns the numbers of datagrams that it has received and dropped.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Release);
        // Wakes it.
        let waking = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        waking.send_to(b"stop", self.address).expect("room");
        let received = self.thread.join().expect("no panic");
        (received, self.dropped.load(Ordering::Relaxed))
    }
}

/// Loads of different shapes, their messages, and their timeout in seconds. A stall of either side that
/// is as long would lose more. With one message in flight, each one that is dropped takes the timeout.
const SHAPES: [(&str, u64, u32); 4] = [
    ("-c 10 -p 4 -n 700", 700, 5),
    ("-c 1 -p 1 -n 200", 200, 1),
    ("-R 2k -c 20 -n 2000", 2000, 5),
    ("-R 2k -c 20 -n 2000 --size 8-1200", 2000, 5),
];

fn compare(proof: &mut Proof, (shape, messages, timeout): (&str, u64, u32), drop_every: u64) {
    let server = LossyServer::start(drop_every);
    let url = format!("udp://{}", server.address);
    let report = load(&url, &format!("{shape} -t 1 --warmup 0 --timeout {timeout}s --verify all"));
    let (received, dropped) = server.stop();
    proof.equal("dropped by the server", dropped, messages / drop_every);
    proof.equal("received by the server", received, messages);
    for (figure, expected) in [
        ("offered", messages),
        ("sent", messages),
        ("received", messages - dropped),
        ("lost", dropped),
        ("missing", dropped),
        ("duplicated", 0),
        ("corrupted", 0),
        ("unasked", 0),
        ("unsent", 0),
        ("late", 0),
    ] {
        proof.equal(figure, report.count(&format!("messages.{figure}")), expected);
    }
    proof.equal("reply_timeout", report.errors("reply_timeout"), dropped);
    proof.equal("all errors", report.all_errors(), dropped);
    // A lost datagram is in the histogram, with the time waited.
    proof.equal("response.count", report.count("latency_us.response.count"), messages);
    proof.equal("response.lower_bounds", report.count("latency_us.response.lower_bounds"), dropped);
    if dropped > 0 {
        proof.at_least("response.max ms", report.millis("response.max"), f64::from(timeout) * 1000.0);
    }
}

#[test]
fn lost_datagrams_are_counted_exactly() {
    prove("h, datagrams", |proof| {
        for drop_every in [100, 7, u64::MAX] {
            for (shape, messages, timeout) in SHAPES {
                // One that is lost holds the only message in flight up for the timeout.
                if drop_every == 7 && shape.contains("-p 1") {
                    continue;
                }
                let dropped = if drop_every == u64::MAX { "none".to_owned() } else { format!("each {drop_every}th") };
                proof.part(format!("{shape}, {dropped} dropped"));
                compare(proof, (shape, messages, timeout), drop_every);
            }
        }
    });
}
