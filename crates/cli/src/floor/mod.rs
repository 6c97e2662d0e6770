//! `ringway floor`: the raw TCP echo (RFC 862) with which `bench` compares WebSocket echo, on one of
//! our drivers or on plain epoll; and the raw sends on epoll with which it compares fan-out.

mod driver;
mod epoll;
mod fanout;
#[cfg(test)]
mod tests;

use crate::arguments::Floor;
use crate::exit::{ExitOutcome, Failure};
use crate::{limits, stdin};
use ringway::placement;
use rustix::event::{EventfdFlags, eventfd};
use std::net::SocketAddr;
use std::thread;

pub(crate) fn run(arguments: &Floor) -> Result<ExitOutcome, Failure> {
    limits::raise_open_files();
    let address: SocketAddr = arguments.listen.parse().map_err(|_| {
        Failure(format!("cannot listen on {:?}: give an address and a port, as 127.0.0.1:7", arguments.listen))
    })?;
    if arguments.epoll || arguments.fanout { run_epoll(arguments, address) } else { driver::run(arguments, address) }
}

/// Runs the echo on epoll, one thread for each core; or the fan-out, on the first core.
fn run_epoll(arguments: &Floor, address: SocketAddr) -> Result<ExitOutcome, Failure> {
    let mut cores = arguments.cores();
    if arguments.fanout {
        cores.truncate(1);
    }
    let mut listeners = vec![epoll::listen(address)?];
    let address = listeners[0].local_addr()?;
    for _ in 1..cores.len() {
        listeners.push(epoll::listen(address)?);
    }
    let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
    println!("listening on tcp://{address}");
    if arguments.stop_with_stdin {
        let stop = stop.try_clone()?;
        stdin::on_end(move || {
            // Writing fails only if the counter is full, and then it is readable.
            let _ = rustix::io::write(&stop, &1_u64.to_ne_bytes());
        })?;
    }
    thread::scope(|scope| {
        let threads: Vec<_> = listeners
            .iter()
            .zip(cores)
            .map(|(listener, core)| {
                let stop = &stop;
                scope.spawn(move || {
                    core.map_or(Ok(()), placement::pin)?;
                    let served =
                        if arguments.fanout { fanout::serve(listener, stop) } else { epoll::serve(listener, stop) };
                    Ok::<_, Failure>(served?)
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| Failure("a thread panicked".into()))??;
        }
        Ok(ExitOutcome::Good)
    })
}
