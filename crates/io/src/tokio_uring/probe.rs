//! Whether tokio-uring can make its ring.

use super::operation::MAX_IN_FLIGHT;
use crate::uring::{SetupError, Unavailable};
use io_uring_0_6::{IoUring, opcode, types};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The oldest kernel on which the driver is used. The operations that it needs are of Linux 5.6; the
/// timeouts of epoll_pwait2(2) are of 5.11.
const MIN_KERNEL: (u32, u32) = (5, 11);

/// The entries of the submission queue of a runtime.
const ENTRIES: u32 = MAX_IN_FLIGHT;

/// The error of a step of the setup.
pub(super) fn unavailable(step: &'static str) -> impl FnOnce(io::Error) -> SetupError {
    move |error| Unavailable::of(step, error, MIN_KERNEL).into()
}

/// The descriptors of a runtime: of the ring, and of a runtime of tokio with all its drivers.
const RUNTIME_DESCRIPTORS: usize = 5;

fn options() -> io_uring_0_6::Builder {
    let mut options = IoUring::builder();
    // Twice the operations in flight, so that the completion queue does not overflow.
    options.setup_cqsize(ENTRIES * 2).dontfork();
    options
}

/// Checks that the descriptors of a runtime of tokio-uring are free. Call it before
/// [`Runtime::new`](::tokio_uring::Runtime::new), which loses some of them when it fails for want of
/// the others.
///
/// # Errors
/// [`SetupError::Unavailable`] if they are not.
pub fn check_descriptors() -> Result<(), SetupError> {
    let spare: io::Result<Vec<OwnedFd>> =
        (0..RUNTIME_DESCRIPTORS).map(|_| Ok(eventfd(0, EventfdFlags::CLOEXEC)?)).collect();
    drop(spare.map_err(unavailable("opening the descriptors of a runtime"))?);
    Ok(())
}

/// A runtime for a driver of the calling thread.
pub(super) fn runtime() -> Result<::tokio_uring::Runtime, SetupError> {
    check_descriptors()?;
    let mut builder = ::tokio_uring::builder();
    builder.entries(ENTRIES).uring_builder(&options());
    ::tokio_uring::Runtime::new(&builder).map_err(unavailable("starting a runtime of tokio-uring"))
}

fn ring() -> Result<IoUring, Unavailable> {
    options().build(ENTRIES).map_err(|error| Unavailable::of("io_uring_setup", error, MIN_KERNEL))
}

/// Tests whether a [`TokioUring`](super::TokioUring) works here: makes a ring, and receives twice
/// from a socket pair, without and with bytes.
///
/// The test runs on its own thread, as [`uring::probe`](crate::uring::probe) does.
///
/// # Errors
/// An [`Unavailable`] that names the step that failed, the likely cause on this machine, and what
/// to change.
pub fn probe() -> Result<(), Unavailable> {
    let thread = std::thread::Builder::new()
        .name("ringway-probe".to_owned())
        .spawn(self_test)
        .map_err(|error| Unavailable::of("starting a thread for the self-test", error, MIN_KERNEL))?;
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn self_test() -> Result<(), Unavailable> {
    let failed = |what: &'static str| move |error: io::Error| Unavailable::of(what, error, MIN_KERNEL);
    let mut ring = ring()?;
    let (mut ours, theirs) = UnixStream::pair().map_err(failed("opening a socket pair for the self-test"))?;
    let mut buffer = [0_u8; 8];
    for (text, expected) in [(&b""[..], -libc::EAGAIN), (b"ring", 4)] {
        io::Write::write_all(&mut ours, text).map_err(failed("writing to a socket pair"))?;
        let entry = opcode::Recv::new(types::Fd(theirs.as_raw_fd()), buffer.as_mut_ptr(), buffer.len() as u32);
        // SAFETY: the buffer and the socket outlive the receive, whose completion is awaited below:
        // it fails where it would wait.
        unsafe { ring.submission().push(&entry.flags(libc::MSG_DONTWAIT).build()) }
            .map_err(|error| Unavailable::of("the self-test", io::Error::other(error), MIN_KERNEL))?;
        let entry = loop {
            match ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed("io_uring_enter")(error)),
            }
            if let Some(entry) = ring.completion().next() {
                break entry;
            }
        };
        if entry.result() != expected {
            let error = io::Error::from_raw_os_error(if entry.result() < 0 { -entry.result() } else { libc::EINVAL });
            return Err(failed("receiving without a wait (Linux 5.6)")(error));
        }
    }
    Ok(())
}
