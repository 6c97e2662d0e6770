//! Panics of a handler.
//!
//! A panic in a method of the handler ends the connection that the method was called for, and
//! nothing else: the shard continues, with the same handler.
//!
//! | the panic is in | the peer gets | [`Ending`] |
//! |---|---|---|
//! | `upgrade`, `request` | status 500 | |
//! | `open`, `message`, `ping`, `pong`, `drained`, `timer` | close code 1011 | [`Panicked`](crate::Ending::Panicked) |
//! | `start`, `closed`, `failed`, `woken`, work that was posted | nothing: no connection is concerned | |
//!
//! It is logged with the connection's id (`tracing`, level error), and counted in
//! [`Counters::panics`]. The handler itself may be left half changed, as a value behind a poisoned
//! lock is. Where that is worse than stopping, [`OnPanic::Stop`] ends all shards, and
//! [`Running::wait`] returns [`RunError::Panicked`]:
//!
//! ```
//! use ringway::{Config, OnPanic};
//!
//! let config = Config::default().on_panic(OnPanic::Stop);
//! # let _ = config;
//! ```
//!
//! Panics are caught by unwinding, so `panic = "abort"` in the profile ends the process instead.
//!
//! Next: [timers](super::timers).
//!
//! [`Counters::panics`]: crate::Counters::panics
//! [`Ending`]: crate::Ending
//! [`OnPanic::Stop`]: crate::OnPanic::Stop
//! [`RunError::Panicked`]: crate::RunError::Panicked
//! [`Running::wait`]: crate::Running::wait
