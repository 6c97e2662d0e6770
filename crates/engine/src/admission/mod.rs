//! Which connections a server takes, and how much each may send: limits over all shards, rates, and
//! the address of the client behind a proxy.
//!
//! What needs no shard is pure and tested alone: token buckets ([`rate`]), networks ([`network`]),
//! the count of connections by address ([`addresses`]). [`gate`] is shared by all shards, and used
//! on the accept path only; [`tickets`] has what the connections of one shard were admitted with.
//! `shard/admit.rs` applies them. A server without these options takes no memory and no time for
//! them.

pub(crate) mod addresses;
pub(crate) mod forwarded;
pub(crate) mod gate;
pub(crate) mod network;
pub(crate) mod options;
pub(crate) mod proxy;
pub(crate) mod rate;
pub(crate) mod throttle;
pub(crate) mod tickets;
