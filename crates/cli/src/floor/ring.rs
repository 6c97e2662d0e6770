//! The raw echo on our io_uring driver.

use crate::arguments::Floor;
use crate::exit::{ExitOutcome, Failure};
use crate::stdin;
use ringway::placement;
use ringway_io::Listener;
use ringway_loadtest::floor::FloorServer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

/// Runs the echo, one thread for each core.
pub(super) fn run(arguments: &Floor, address: SocketAddr) -> Result<ExitOutcome, Failure> {
    let listener = Listener::bind(address)?;
    let address = listener.address().clone();
    let stop = Arc::new(AtomicBool::new(false));
    let (started, starts) = mpsc::channel();
    let mut threads = Vec::new();
    let cores = arguments.cores();
    let (count, busy_poll) = (cores.len(), arguments.busy_poll);
    for core in cores {
        let listener = listener.sibling()?;
        let (stop, started) = (Arc::clone(&stop), started.clone());
        threads.push(std::thread::spawn(move || {
            if let Some(Err(error)) = core.map(placement::pin) {
                let _ = started.send(Err(Failure::from(error)));
                return Ok(());
            }
            match FloorServer::new(listener, busy_poll) {
                Ok(server) => {
                    let _ = started.send(Ok(server.waker()));
                    server.run(&stop)
                }
                Err(refusal) => {
                    let _ = started.send(Err(refusal.into()));
                    Ok(())
                }
            }
        }));
    }
    drop(listener); // The other listeners accept; connections must not queue on one that does not.
    let mut wakers = Vec::new();
    for _ in 0..count {
        wakers.push(starts.recv()??);
    }
    println!("listening on tcp://{address}");
    if arguments.stop_with_stdin {
        stdin::on_end(move || {
            stop.store(true, Ordering::Relaxed);
            wakers.iter().for_each(ringway_io::Waker::wake);
        })?;
    }
    for thread in threads {
        thread.join().map_err(|_| Failure("a thread panicked".into()))??;
    }
    Ok(ExitOutcome::Good)
}
