//! The state of the service for a service manager: the notification protocol of sd_notify(3).
//!
//! The crate `sd-notify` is not used: it does not support sockets in the abstract namespace.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service serves: its sockets listen and its shards run.
pub(crate) fn ready(status: &str) {
    send(&format!("READY=1\nSTATUS={status}"));
}

/// The service has begun to stop.
pub(crate) fn stopping() {
    send("STOPPING=1\nSTATUS=Closing connections");
}

/// Sends assignments to the socket that NOTIFY_SOCKET names, if it is set. A failure is logged: it
/// does not end a server that works.
fn send(assignments: &str) {
    let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send_to(&name, assignments.as_bytes()) {
        tracing::warn!("cannot notify the service manager at NOTIFY_SOCKET={}: {error}", name.display());
    }
}

fn send_to(name: &OsStr, assignments: &[u8]) -> io::Result<()> {
    let address = match name.as_bytes() {
        // A name in the abstract namespace is written with @ in place of its first byte, 0.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the name starts with neither / nor @")),
    }?;
    UnixDatagram::unbound()?.send_to_addr(assignments, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_the_abstract_namespace_is_notified() {
        let name = format!("ringway-notify-{}", std::process::id());
        let manager = SocketAddr::from_abstract_name(&name).and_then(|address| UnixDatagram::bind_addr(&address));
        let manager = manager.expect("the name is free");
        send_to(OsStr::new(&format!("@{name}")), b"READY=1").expect("it is bound");
        let mut received = [0; 64];
        let len = manager.recv(&mut received).expect("a datagram has been sent");
        assert_eq!(&received[..len], b"READY=1");
    }

    #[test]
    fn a_relative_name_is_refused() {
        let error = send_to(OsStr::new("notify"), b"READY=1").expect_err("it is relative");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
