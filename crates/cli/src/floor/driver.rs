//! The raw echo on our drivers.

use crate::arguments::Floor;
use crate::choices::BenchDriver;
use crate::exit::{ExitOutcome, Failure};
use crate::stdin;
use ringway::placement;
use ringway_io::epoll::{Epoll, EpollConfig};
use ringway_io::tokio_uring::{TokioUring, TokioUringConfig};
use ringway_io::uring::{Uring, UringConfig};
use ringway_io::{Driver, Listener};
use ringway_loadtest::floor::FloorServer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

/// Runs the echo on the driver that was asked for.
pub(super) fn run(arguments: &Floor, address: SocketAddr) -> Result<ExitOutcome, Failure> {
    let busy_poll = arguments.busy_poll;
    match arguments.driver {
        BenchDriver::Uring => {
            run_on(arguments, address, move || Ok(Uring::new(UringConfig { busy_poll, ..UringConfig::default() })?))
        }
        BenchDriver::Epoll => {
            run_on(arguments, address, move || Ok(Epoll::new(EpollConfig { busy_poll, ..EpollConfig::default() })?))
        }
        BenchDriver::TokioUring => run_on(arguments, address, move || {
            Ok(TokioUring::new(TokioUringConfig { busy_poll, ..TokioUringConfig::default() })?)
        }),
    }
}

/// Runs the echo, one thread with a driver for each core.
fn run_on<D: Driver>(
    arguments: &Floor,
    address: SocketAddr,
    open: impl Fn() -> Result<D, Failure> + Copy + Send + 'static,
) -> Result<ExitOutcome, Failure> {
    let listener = Listener::bind(address)?;
    let address = listener.address().clone();
    let stop = Arc::new(AtomicBool::new(false));
    let (started, starts) = mpsc::channel();
    let mut threads = Vec::new();
    let cores = arguments.cores();
    let count = cores.len();
    for core in cores {
        let listener = listener.sibling()?;
        let (stop, started) = (Arc::clone(&stop), started.clone());
        threads.push(std::thread::spawn(move || {
            if let Some(Err(error)) = core.map(placement::pin) {
                let _ = started.send(Err(Failure::from(error)));
                return Ok(());
            }
            match open() {
                Ok(driver) => {
                    let server = FloorServer::new(driver, listener);
                    let _ = started.send(Ok(server.waker()));
                    server.run(&stop)
                }
                Err(failure) => {
                    let _ = started.send(Err(failure));
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
