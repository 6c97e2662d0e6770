//! Raw TCP echo on plain epoll, the independent floor of `ringway bench`: `raw-epoll PORT`. It is
//! neither a WebSocket server nor a peer; it allows to compare other generators and servers with
//! the same floor.

#[path = "../../../../crates/cli/src/floor/epoll.rs"]
mod epoll;

use rustix::event::{EventfdFlags, eventfd};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("usage: raw-epoll PORT")?.parse()?;
    let listener = epoll::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    // It is never written to: the process runs until it is killed.
    let never = eventfd(0, EventfdFlags::CLOEXEC)?;
    Ok(epoll::serve(&listener, &never)?)
}
