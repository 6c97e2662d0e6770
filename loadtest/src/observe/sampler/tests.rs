//! Tests with threads of this process.

use super::super::usage::{Clocks, Usage};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A thread that computes on one core until it is dropped, or [ended](Self::end).
pub(crate) struct BusyThread {
    pub(crate) thread: i32,
    end: Arc<AtomicBool>,
    handle: Option<JoinHandle<Usage>>,
}

impl BusyThread {
    pub(crate) fn start(core: usize) -> Self {
        let (end, (sender, started)) = (Arc::new(AtomicBool::new(false)), mpsc::channel());
        let handle = std::thread::spawn({
            let end = Arc::clone(&end);
            move || {
                placement::pin(core).expect("the core is in the mask");
                let begun = Clocks::of_this_thread(Duration::ZERO);
                sender.send(rustix::thread::gettid().as_raw_nonzero().get()).expect("the test waits");
                while !end.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                Clocks::of_this_thread(Duration::ZERO).since(&begun)
            }
        });
        Self { thread: started.recv().expect("it runs"), end, handle: Some(handle) }
    }

    /// Ends it, and returns the CPU time that it has used.
    pub(crate) fn end(mut self) -> Usage {
        self.end.store(true, Ordering::Relaxed);
        self.handle.take().expect("it is taken here and in drop only").join().expect("no panic")
    }
}

impl Drop for BusyThread {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

/// The first and the last core of this process.
pub(crate) fn two_cores() -> Option<(usize, usize)> {
    match *CoreSet::read().expect("the mask can be read").cores().as_slice() {
        [first, .., last] => Some((first, last)),
        _ => {
            eprintln!("NOT TESTED: this process may run on one core only");
            None
        }
    }
}

/// The use of a window of 300 ms from now.
pub(crate) fn sampled(measured: Measured) -> WindowUse {
    let (sender, edges) = mpsc::channel();
    let begin = Instant::now();
    sender.send(begin).expect("it is received");
    sender.send(begin + millis(300)).expect("it is received");
    let sampler = spawn(measured, edges).expect("a thread can be started");
    let used = sampler.join().expect("no panic").expect("the sender is kept");
    drop(sender);
    used
}

#[test]
fn the_cores_of_the_generator_are_known_if_the_cpu_time_of_its_threads_is() {
    let Some((_, core)) = two_cores() else { return };
    let busy = BusyThread::start(core);
    let of = |thread| Measured {
        server: ObservedServer::default(),
        generator: vec![GeneratorThread { thread, core: Some(core) }],
    };
    let used = sampled(of(busy.thread));
    assert!(used.generator_cores.is_some(), "{used:?}");
    assert_eq!(used.server, Err(Unknown::NotObserved));
    assert!(used.missing.iter().any(|why| why == "the server's CPU time: the server's process was not observed"));
    // No thread has this id, which is above the kernel's maximum.
    let used = sampled(of(i32::MAX));
    assert_eq!(used.generator_cores, None, "its threads would count as other processes");
    assert!(used.missing.iter().any(|why| why.starts_with("the generator's own CPU time")), "{used:?}");
    drop(busy);
}

#[test]
fn the_process_of_a_server_is_sampled() {
    let Some((_, core)) = two_cores() else { return };
    let busy = BusyThread::start(core);
    let used = sampled(Measured { server: ObservedServer::known(std::process::id()), generator: Vec::new() });
    let server = used.server.expect("we run");
    assert!(server.demand > 0.5 && server.cpu > Duration::ZERO && server.rss > 0, "{server:?}");
    assert!(used.server_cores.is_some(), "it has a pinned thread");
    let threads: Vec<f64> = used.server_threads.iter().map(|thread| thread.busy).collect();
    assert!(threads.len() <= 32 && threads.is_sorted_by(|one, other| one >= other), "{threads:?}");
    assert!(threads[0] == server.busiest && !used.server_threads[0].name.is_empty(), "{threads:?} {server:?}");
    drop(busy);
}

#[test]
fn a_server_that_is_gone_has_a_reason() {
    let mut child = std::process::Command::new("true").spawn().expect("a program");
    let pid = child.id();
    child.wait().expect("it ends");
    let used = sampled(Measured { server: ObservedServer::known(pid), generator: Vec::new() });
    assert_eq!(used.server, Err(Unknown::Gone(pid)));
}

#[test]
fn the_sampler_takes_a_core_that_neither_side_uses() {
    let set = |cores: &[usize]| cores.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(spare_core(&[0, 1, 2, 3], &set(&[3]), &set(&[0])), Some(2));
    assert_eq!(spare_core(&[0, 1], &set(&[1]), &set(&[0])), None);
    assert_eq!(spare_core(&[0, 1, 2], &set(&[2]), &set(&[])), Some(1), "a server elsewhere uses no core");
    assert_eq!(spare_core(&[0, 1, 2], &set(&[]), &set(&[0])), None, "an unpinned generator uses any");
}
