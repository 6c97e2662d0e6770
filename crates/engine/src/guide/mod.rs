//! The concepts of the engine, in reading order. These modules hold documentation only.
//!
//! 1. [`shards`]: threads, handlers, and how shards reach each other
//! 2. [`connections`]: the life of a connection, from its handshake to its end
//! 3. [`sending`]: replies, messages, prepared messages, and backpressure
//! 4. [`topics`]: messages to all subscribers, their order, and slow readers
//! 5. [`limits`]: limits, the memory budget and deadlines, and what happens at each of them
//! 6. [`admission`]: limits over all shards, rates, and the addresses of clients behind a proxy
//! 7. [`panics`]: what a panic of a handler ends
//! 8. [`timers`]: timers of connections and the alarm of a shard
//! 9. [`compression`]: what it costs, and when to use it
//! 10. [`running`]: starting, signals and stopping
//! 11. [`clients`]: connections that the handler opens
//! 12. [`tls`]: certificates, verification, and what a connection with TLS costs
//! 13. [`http`]: plain requests on the same port
//! 14. [`errors`]: the error types and where each one comes from
//!
//! Complete programs are in the folder `examples` of the crate: `echo`, `chat` (a room over all
//! shards), `authentication` (authentication on other threads) and `client`.

pub mod admission;
pub mod clients;
pub mod compression;
pub mod connections;
pub mod errors;
pub mod http;
pub mod limits;
pub mod panics;
pub mod running;
pub mod sending;
pub mod shards;
pub mod timers;
pub mod tls;
pub mod topics;
