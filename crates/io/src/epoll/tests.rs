//! What is particular to epoll. The tests that all drivers share are in `crate::tests`.

use super::*;
use crate::tests::TestDriver;
use crate::uring::UringConfig;
use std::os::fd::{AsRawFd, RawFd};

impl TestDriver for Epoll {
    fn open(config: UringConfig) -> Self {
        let UringConfig { buffers, max_connections, busy_poll, ring_entries: _ } = config;
        Self::new(EpollConfig { buffers, max_connections, busy_poll }).expect("descriptors are left")
    }

    fn pool(&self) -> &Pool {
        self.pool()
    }

    fn is_accepting(&self) -> bool {
        self.table.is_accepting()
    }

    fn in_flight(&self, slot: Slot) -> u16 {
        self.table.in_flight(slot)
    }

    fn ready(&self) -> u16 {
        self.table.ready()
    }

    fn begin_turn(&mut self) {
        self.table.begin_turn(&mut None, &mut Vec::new());
    }

    fn holds_nothing(&self) -> bool {
        self.table.kernel.holds_nothing()
    }

    fn descriptor(&self) -> RawFd {
        self.table.kernel.epoll.as_raw_fd()
    }
}
