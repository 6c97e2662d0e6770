//! Whether a server listens on a Unix socket.

use super::info::peer_credentials;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the kernel may take to release the socket of a process that has ended.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The server that listens at this address: its process, if that is known and alive. `None` if no
/// server listens.
///
/// When a process is killed, its io_uring is released by a worker of the kernel some milliseconds
/// later (`io_ring_exit_work`). Until then the accept in flight keeps the socket, and connections
/// are still taken. If the process that called listen(2) is not alive, this waits for their end. It
/// is not a proof that nobody listens, because another process may have inherited the socket.
///
/// A server sees a connection that is closed at once.
pub(super) fn find_server(address: &SockAddr) -> io::Result<Option<Option<NonZero<u32>>>> {
    let deadline = Instant::now() + RELEASE_TIMEOUT;
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(address) {
            Ok(()) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::ECONNREFUSED) => return Ok(None),
                // The queue of a server is full, or its socket is of another type.
                Some(libc::EAGAIN | libc::EPROTOTYPE) => return Ok(Some(None)),
                _ => return Err(error),
            },
        }
        let pid = peer_credentials(socket.as_fd()).and_then(|peer| peer.pid);
        if pid.is_some_and(is_alive) {
            return Ok(Some(pid));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !is_ended_within(&socket, left)? {
            return Ok(Some(None));
        }
    }
}

/// Waits until the connection ends, or `time` is over. Returns whether it has ended.
fn is_ended_within(socket: &Socket, time: Duration) -> io::Result<bool> {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&time)) {
        Ok(events) => Ok(events > 0),
        // The caller tries again.
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Whether a process runs, as far as this process can see. One that has ended and was not waited
/// for does not run.
fn is_alive(pid: NonZero<u32>) -> bool {
    // The name of the program is in parentheses, and may have some itself (proc_pid_stat(5)).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, fields)| fields.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_alive_until_it_has_ended() {
        assert!(is_alive(NonZero::new(std::process::id()).expect("not 0")));
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let pid = NonZero::new(child.id()).expect("not 0");
        assert!(is_alive(pid));
        drop(child.stdin.take());
        // The end of its output is not yet its end.
        io::copy(&mut child.stdout.take().expect("a pipe"), &mut io::sink()).expect("it can be read");
        let deadline = Instant::now() + Duration::from_secs(20);
        while is_alive(pid) {
            assert!(Instant::now() < deadline, "it has closed its output");
        }
        child.wait().expect("it is our child");
        assert!(!is_alive(pid));
    }
}
