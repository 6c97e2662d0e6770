//! Options out of range are refused by name, before the kernel is asked. The tests that all drivers
//! share are in `crate::tests`.

use super::*;
use crate::table::KernelInterface;
use crate::tests::{TestDriver, small};
use std::os::fd::{AsRawFd, RawFd};

impl TestDriver for Uring {
    const LENDS_BUFFERS: bool = true;

    fn open(config: UringConfig) -> Self {
        Self::new(config).expect("io_uring works here")
    }

    fn pool(&self) -> &Pool {
        self.pool()
    }

    fn table(&self) -> &SlotTable<impl KernelInterface> {
        &self.table
    }

    fn table_mut(&mut self) -> &mut SlotTable<impl KernelInterface> {
        &mut self.table
    }

    fn holds_nothing(&self) -> bool {
        self.table.kernel.holds_nothing()
    }

    fn descriptor(&self) -> RawFd {
        self.table.kernel.ring.as_raw_fd()
    }
}

#[track_caller]
fn refused(config: UringConfig) -> String {
    assert_eq!(config.check().map_err(|error| error.to_string()), {
        match Uring::new(config) {
            Err(SetupError::Option(error)) => Err(error.to_string()),
            Err(SetupError::Unavailable(unavailable)) => {
                panic!("reported as a refusal of the kernel: {unavailable}")
            }
            Ok(_) => Ok(()),
        }
    });
    config.check().expect_err("out of range").to_string()
}

#[test]
fn ring_entries_out_of_range_are_refused_by_name() {
    for entries in [0, 7, 32_769, u32::MAX] {
        let text = format!("ring_entries is {entries}: give 8 to 32768");
        assert_eq!(refused(UringConfig { ring_entries: entries, ..small(8) }), text);
    }
}

#[test]
fn connections_out_of_range_are_refused_by_name() {
    for max_connections in [0, (1 << 30) + 1] {
        let text = format!("max_connections is {max_connections}: give 1 to 1073741824");
        assert_eq!(refused(small(max_connections)), text);
    }
}

#[test]
fn buffers_out_of_range_are_not_reported_as_a_refusal_of_the_kernel() {
    let buffers = BufferConfig { count: 4, ready: Some(5), ..BufferConfig::new() };
    let text = "buffers.ready is 5: give 1 to the number of buffers (buffers.count)";
    assert_eq!(refused(UringConfig { buffers, ..small(8) }), text);
}

#[test]
fn the_smallest_numbers_make_a_driver() {
    let buffers = BufferConfig { size: 1024, count: 1, ready: Some(1), working_set: Some(1) };
    let config = UringConfig { ring_entries: 8, buffers, max_connections: 1, ..UringConfig::default() };
    Uring::new(config).expect("io_uring works here");
}
