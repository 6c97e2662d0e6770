//! The sockets that a service manager passes: the protocol of sd_listen_fds(3).

use crate::exit::Failure;
use listenfd::ListenFd;
use std::env;
use std::io;
use std::os::fd::OwnedFd;

/// Takes the sockets of LISTEN_FDS, if LISTEN_PID is this process. Removes both variables, and must
/// therefore be called before other threads start.
pub(crate) fn listeners() -> Result<Vec<OwnedFd>, Failure> {
    // `ListenFd` also takes sockets that are for no process in particular. They may be meant for the
    // process that has passed its environment on.
    if env::var_os("LISTEN_PID").is_none_or(|pid| pid.is_empty()) {
        return Ok(Vec::new());
    }
    let mut passed = ListenFd::from_env();
    let sockets = (0..passed.len()).filter_map(|at| match passed.take_tcp_listener(at) {
        Ok(socket) => socket.map(|socket| Ok(OwnedFd::from(socket))),
        // The descriptor stays where it is.
        Err(error) => {
            passed.take_unix_listener(at).map_err(|_| error).transpose().map(|socket| socket.map(OwnedFd::from))
        }
    });
    let failed = |error| {
        Failure(format!(
            "cannot listen on a socket of LISTEN_FDS: {error}; pass listening sockets of TCP or Unix stream sockets only \
             (systemd: `ListenStream=`)"
        ))
    };
    sockets.map(|socket: io::Result<OwnedFd>| socket.map_err(failed)).collect()
}
