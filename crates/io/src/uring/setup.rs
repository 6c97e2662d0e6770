//! Setup of a ring: its flags, its restrictions, and the self-test.

use super::entry;
use super::provided::Provided;
use super::unavailable::Unavailable;
use crate::{BufferConfig, Pool, Slot};
use io_uring::register::Restriction;
use io_uring::{IoUring, cqueue};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

/// The opcode of io_uring_register(2) that registers a buffer ring (since 5.19).
const REGISTER_PBUF_RING: u8 = 22;

type SetupFlag = (&'static str, fn(&mut io_uring::Builder) -> &mut io_uring::Builder);

/// The setup flags, in the order in which they are dropped. A kernel that does not know a flag
/// returns EINVAL.
const SETUP_FLAGS: [SetupFlag; 6] = [
    // Since 6.1: task work runs only when this thread waits for completions, in batches.
    ("DEFER_TASKRUN", io_uring::Builder::setup_defer_taskrun),
    // Since 6.0: only one thread submits, which saves a lock.
    ("SINGLE_ISSUER", io_uring::Builder::setup_single_issuer),
    // Since 5.19: the kernel reports pending task work in shared memory.
    ("TASKRUN_FLAG", io_uring::Builder::setup_taskrun_flag),
    // Since 5.19: the kernel does not interrupt a running thread for task work.
    ("COOP_TASKRUN", io_uring::Builder::setup_coop_taskrun),
    // Since 5.18: a bad entry does not stop the submission of the entries after it.
    ("SUBMIT_ALL", io_uring::Builder::setup_submit_all),
    // Since 5.6: the kernel reduces sizes above its limits to these.
    ("CLAMP", io_uring::Builder::setup_clamp),
];

/// The flags and features of a ring that this kernel supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// How many of [`SETUP_FLAGS`] were dropped: 0 on Linux 6.1 and newer.
    dropped_flags: usize,
    /// Whether the ring is restricted to the operations that the driver uses (since 5.10).
    restricted: bool,
}

impl Features {
    /// Whether the kernel supports every flag and feature that the driver uses.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.dropped_flags == 0 && self.restricted
    }

    /// The setup flags that this kernel does not know, the newest first; empty on Linux 6.1 and
    /// newer.
    pub fn missing_flags(&self) -> impl Iterator<Item = &'static str> {
        SETUP_FLAGS[..self.dropped_flags].iter().map(|(name, _)| *name)
    }

    /// Whether the ring is restricted to the operations that the driver uses (since 5.10).
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.restricted
    }

    /// Whether the kernel reports pending task work in shared memory, so that the ring can be
    /// polled in user space.
    pub(super) fn shows_pending_work(&self) -> bool {
        SETUP_FLAGS[self.dropped_flags..].iter().any(|(name, _)| *name == "TASKRUN_FLAG")
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, _)) in SETUP_FLAGS[self.dropped_flags..].iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { " " })?;
        }
        write!(f, ", {}restricted", if self.restricted { "" } else { "not " })
    }
}

/// Builds a disabled ring, with as many flags as this kernel accepts.
fn build(entries: u32) -> Result<(IoUring, usize), Unavailable> {
    let mut dropped_flags = 0;
    loop {
        let mut builder = IoUring::builder();
        // An overflow of the completion queue ends multishot requests, so it has room for several
        // completions per submission.
        builder.setup_r_disabled().setup_cqsize(entries * 4).dontfork();
        for (_, set) in &SETUP_FLAGS[dropped_flags..] {
            set(&mut builder);
        }
        match builder.build(entries) {
            Ok(ring) => return Ok((ring, dropped_flags)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && dropped_flags < SETUP_FLAGS.len() => {
                dropped_flags += 1
            }
            Err(error) => return Err(Unavailable::new("io_uring_setup", error)),
        }
    }
}

/// Registers the restrictions, which requires a disabled ring, and enables the ring for the calling
/// thread.
fn enable(ring: &IoUring, dropped_flags: usize) -> Result<Features, Unavailable> {
    let mut allowed = Vec::from(entry::ALLOWED.map(Restriction::sqe_op));
    // The buffers of datagrams are registered with the first socket for them.
    allowed.push(Restriction::register_op(REGISTER_PBUF_RING));
    allowed.push(Restriction::sqe_flags_allowed(io_uring::squeue::Flags::BUFFER_SELECT.bits()));
    let restricted = match ring.submitter().register_restrictions(&mut allowed) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => false,
        Err(error) => return Err(Unavailable::new("restricting the ring", error)),
    };
    ring.submitter().register_enable_rings().map_err(|error| Unavailable::new("enabling the ring", error))?;
    Ok(Features { dropped_flags, restricted })
}

/// An enabled ring for the calling thread, with its buffer ring.
pub(super) fn open(entries: u32, pool: &Pool, buffers: u16) -> Result<(IoUring, Provided, Features), Unavailable> {
    let (ring, dropped_flags) = build(entries)?;
    let provided = Provided::register(&ring, pool.clone(), buffers, entry::BUFFER_GROUP)
        .map_err(|error| Unavailable::new("registering the buffer ring (Linux 5.19)", error))?;
    let features = enable(&ring, dropped_flags)?;
    Ok((ring, provided, features))
}

/// Tests io_uring: sets up a small ring, and receives twice from a socket pair with one multishot
/// receive.
///
/// The test runs on its own thread, which has ended when this function returns. The kernel releases
/// a ring some time after it was closed, and interrupts the thread that used it
/// (`io_ring_exit_work` sends task work as a signal). On the caller's thread, a later blocking call
/// would fail with EINTR.
///
/// # Errors
/// An [`Unavailable`] that names the step that failed, the likely cause on this machine, and what
/// to change.
pub fn probe() -> Result<Features, Unavailable> {
    let thread = std::thread::Builder::new()
        .name("ringway-probe".to_owned())
        .spawn(self_test)
        .map_err(|error| Unavailable::new("starting a thread for the self-test", error))?;
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn self_test() -> Result<Features, Unavailable> {
    let failed = |what: &'static str| move |error: io::Error| Unavailable::new(what, error);
    let pool = Pool::new(&BufferConfig { size: 1024, count: 2, ready: Some(2), working_set: None })
        .map_err(|error| Unavailable::new("reserving buffers", io::Error::other(error)))?;
    let (mut ring, mut provided, features) = open(8, &pool, 2)?;
    provided.refill(2);
    let (mut ours, theirs) =
        std::os::unix::net::UnixStream::pair().map_err(failed("opening a socket pair for the self-test"))?;
    let slot = Slot::new(0, 0);
    // SAFETY: a receive refers to no memory of this process but the buffer ring, which `open` has
    // registered.
    unsafe { ring.submission().push(&entry::receive(theirs.as_raw_fd(), slot)) }
        .map_err(|error| Unavailable::new("the self-test", io::Error::other(error)))?;
    for text in [b"ring", b"way."] {
        io::Write::write_all(&mut ours, text).map_err(failed("writing to a socket pair"))?;
        let entry = loop {
            match ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Unavailable::new("io_uring_enter", error)),
            }
            if let Some(entry) = ring.completion().next() {
                break entry;
            }
        };
        let wrong = || Unavailable::new("multishot receive (Linux 6.0)", io::Error::from_raw_os_error(libc::EINVAL));
        let Some(buffer) = cqueue::buffer_select(entry.flags()).and_then(|id| provided.claim(id, entry.result()))
        else {
            return Err(wrong());
        };
        if &*buffer != text || !cqueue::more(entry.flags()) {
            return Err(wrong());
        }
        drop(buffer);
        provided.refill(2);
    }
    // The receive ends with its socket. Wait for that, so that the kernel uses no buffer when the
    // pool is dropped.
    drop(ours);
    loop {
        match ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Unavailable::new("io_uring_enter", error)),
        }
        if ring.completion().any(|entry| !cqueue::more(entry.flags())) {
            return Ok(features);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_self_test_passes_on_this_kernel() {
        let features = probe().expect("io_uring works here");
        assert!(features.to_string().contains("SUBMIT_ALL"), "{features}");
    }

    #[test]
    fn the_self_test_does_not_interrupt_its_caller_later() {
        let (mut ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("two descriptors");
        for _ in 0..3 {
            probe().expect("io_uring works here");
        }
        // Long enough for the kernel to release the rings.
        ours.set_read_timeout(Some(std::time::Duration::from_millis(500))).expect("open");
        let error = io::Read::read(&mut ours, &mut [0]).expect_err("nothing is written");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
    }

    #[test]
    fn features_are_displayed_by_name() {
        let features = Features { dropped_flags: 1, restricted: false };
        assert_eq!(features.to_string(), "SINGLE_ISSUER TASKRUN_FLAG COOP_TASKRUN SUBMIT_ALL CLAMP, not restricted");
        assert!(!features.is_full());
    }
}
