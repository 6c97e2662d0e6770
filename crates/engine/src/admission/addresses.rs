//! The number of connections of each client: by IPv4 address, or by the /64 network of IPv6, which
//! is what one customer gets.
//!
//! All shards share the table, in parts with a lock each. It is used when a connection is accepted
//! and when it ends, never for a message.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of parts, a power of two.
const PARTS: usize = 64;

/// A client, as connections are counted: 8 bytes.
///
/// An IPv4 address is its number, and an IPv6 address its first 64 bits. No IPv6 network that is in
/// use begins with 32 zero bits and is not zero itself (RFC 4291 section 2.5), so they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(u64);

impl AddressKey {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        })
    }
}

/// The number of connections by client. A client without a connection takes no memory.
#[derive(Debug)]
pub(crate) struct AddressTable {
    max: u32,
    parts: Vec<Mutex<HashMap<AddressKey, u32>>>,
    /// Chooses the part of a client. Its keys are random, so that no set of clients shares a part on
    /// purpose.
    hasher: RandomState,
}

impl AddressTable {
    /// A table that allows each client `max` connections.
    pub(crate) fn new(max: u32) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { max, parts, hasher: RandomState::new() }
    }

    fn part(&self, key: AddressKey) -> MutexGuard<'_, HashMap<AddressKey, u32>> {
        let part = self.hasher.hash_one(key) as usize % PARTS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection of a client. Returns whether it is within the limit; if not, it is not
    /// counted.
    pub(crate) fn add(&self, key: AddressKey) -> bool {
        let mut part = self.part(key);
        let count = part.entry(key).or_insert(0);
        let has_room = *count < self.max;
        *count += u32::from(has_room);
        has_room
    }

    /// Ends a connection that was counted.
    pub(crate) fn remove(&self, key: AddressKey) {
        let mut part = self.part(key);
        if let Entry::Occupied(mut entry) = part.entry(key) {
            match *entry.get() {
                0 | 1 => {
                    entry.remove();
                }
                count => *entry.get_mut() = count - 1,
            }
        }
        // A flood of clients leaves no large table behind.
        if part.capacity() > 64 && part.len() < part.capacity() / 8 {
            part.shrink_to(64);
        }
    }

    /// The number of clients with a connection.
    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.parts.iter().map(|part| part.lock().expect("no panic").len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    fn key(text: &str) -> AddressKey {
        AddressKey::of(text.parse().expect("an address"))
    }

    #[test]
    fn ipv4_counts_by_address_and_ipv6_by_the_first_64_bits() {
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("::1"), key("127.0.0.1"));
    }

    #[test]
    fn a_client_gets_its_number_of_connections_and_no_more() {
        let table = AddressTable::new(2);
        let (one, other) = (key("192.0.2.1"), key("2001:db8::1"));
        assert_eq!([table.add(one), table.add(one), table.add(one)], [true, true, false]);
        assert!(table.add(other), "clients are counted separately");
        table.remove(one);
        assert_eq!([table.add(one), table.add(one)], [true, false], "a refused connection is not counted");
        [one, one, other].into_iter().for_each(|key| table.remove(key));
        assert_eq!(table.clients(), 0);
        table.remove(one);
        assert_eq!(table.clients(), 0);
    }

    #[test]
    fn a_flood_of_clients_leaves_no_memory_behind() {
        let table = AddressTable::new(1);
        let keys: Vec<AddressKey> = (0..200_000_u32).map(|bits| AddressKey::of(IpAddr::V4(bits.into()))).collect();
        assert!(keys.iter().all(|key| table.add(*key)));
        keys.iter().for_each(|key| table.remove(*key));
        let capacity: usize = table.parts.iter().map(|part| part.lock().expect("no panic").capacity()).sum();
        assert!(table.clients() == 0 && capacity <= PARTS * 256, "{capacity}");
    }

    #[test]
    fn threads_together_never_exceed_the_limit() {
        let (table, open) = (AddressTable::new(5), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if table.add(key("192.0.2.1")) {
                            assert!(open.fetch_add(1, Ordering::SeqCst) < 5);
                            open.fetch_sub(1, Ordering::SeqCst);
                            table.remove(key("192.0.2.1"));
                        }
                    }
                });
            }
        });
        assert_eq!(table.clients(), 0);
    }
}
