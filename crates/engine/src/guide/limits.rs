//! Limits, the memory budget and deadlines, and what happens when each of them is reached.
//!
//! [`Config`] has the options of the operator, and [`Limits`] what a peer may use. The defaults are
//! fit for the open internet. A setter checks the range of its option, and starting checks the
//! relations between options; a [`ConfigError`] names option, value and range. Nothing is clamped.
//!
//! ```
//! use ringway::{Config, Limits};
//! use std::time::Duration;
//!
//! // A chat: short messages, silent clients detected within a minute, 1 GiB for each shard.
//! let limits = Limits::default().max_message(16 << 10)?.max_memory(Some(1 << 30))?;
//! let config = Config::default().idle_timeout(Some(Duration::from_secs(60)))?;
//! # let _ = (limits, config);
//! # Ok::<(), ringway::ConfigError>(())
//! ```
//!
//! # Limits of one connection
//!
//! | limit | default | when it is reached |
//! |---|---|---|
//! | [`Limits::max_head`], [`max_headers`](crate::Limits::max_headers) | 16 KiB, 100 | 414 for the request line, 431 otherwise |
//! | [`Limits::max_requests`], of plain HTTP | 1000 | the response to the last one ends the connection |
//! | [`Limits::max_message`] | 16 MiB, after inflating | close code 1009 |
//! | [`Limits::max_buffered`] | 1 MiB | `send` hands messages back, and no message of the peer is delivered until the output has fallen to [`Limits::low_water`] (half) |
//!
//! # Limits of one shard
//!
//! | limit | default | when it is reached |
//! |---|---|---|
//! | [`Limits::max_connections`] | 1 048 576 | further connections wait in the kernel's backlog |
//! | [`Limits::max_memory`] | half of the memory of the machine or cgroup, divided by the number of shards | see below |
//!
//! The memory budget covers what the connections of a shard hold together: buffers of partial
//! messages, queued output, stashed input, heads of handshakes, compressors and inflaters. The
//! receive buffers, the sessions themselves and the application's state are not part of it. An eighth
//! of the budget is for what the allocator adds, so the *limit* of what connections hold is 7/8 of it.
//! That is enough for allocators that return freed memory to the system when they are asked to
//! ([`Config::purge_allocator`]).
//!
//! | memory in use | what happens | counted in [`Counters`] |
//! |---|---|---|
//! | from 7/8 of the limit | compressors of single connections are freed; the connections that hold the most are not read, for at most 10 s; a connection can queue an eighth of what is left, and `send` hands further messages back | `memory_pauses`, `handed_back` |
//! | messages were handed back | of the connections that hold the most, those whose peer has read nothing for a second are closed with 1013 | `memory_closes` |
//! | 10 s later, still from 7/8 | the slowest readers of those that hold the most are closed with 1013, or dropped if more than 64 KiB are in flight, until less than 7/8 is in use | `memory_closes` |
//! | the limit | the same at once; new handshakes get 503 for a second at least | `memory_refusals`, `memory_closes` |
//! | below 3/4, or for a second below 7/8 | reading resumes | |
//!
//! With [`OnMemoryLimit::Pause`] no connection is closed for want of memory. The sum can exceed the
//! limit by what one turn receives, and by the growth of one buffer.
//!
//! # Deadlines
//!
//! | deadline | default | when it is over |
//! |---|---|---|
//! | [`Config::handshake_timeout`] | 10 s | status 408, or [`ConnectError::Timeout`] in the client role |
//! | [`Config::keep_alive_timeout`], between a plain response and the next request | 15 s | the connection is closed |
//! | [`Limits::message_timeout`], from the first byte of a message to its last | 120 s | close code 1008 |
//! | [`Config::idle_timeout`], in which nothing is received | 120 s | a ping after half of it; after all of it the connection is dropped ([`Ending::Idle`]) |
//! | [`Config::write_timeout`], in which the peer takes none of its output | 60 s | the connection is dropped ([`Ending::WriteTimeout`]) |
//! | [`Config::close_timeout`], without progress while closing | 5 s | the connection is dropped ([`Ending::Unanswered`]) |
//! | [`Config::close_limit`], for all of closing | 60 s | the same |
//! | [`Config::max_lifetime`], less a random part | none | close code 1001 ([`Counters::lifetime_closes`]) |
//! | [`Config::stop_timeout`], for draining a shard | 10 s | the remaining connections are dropped |
//!
//! A dropped connection has close code 1006 in its [`CloseReason`], because no close frame was
//! exchanged; after a close frame of ours the code is that of the frame.
//!
//! Progress decides whether a peer is alive: a slow reader that keeps reading is not dropped, and
//! neither is a peer whose bytes have arrived unread. When the shard itself has been away from its
//! sockets for 500 ms or more, because its process was stopped or a handler was busy, the deadlines
//! of its connections move by as much ([`Counters::stalls`]).
//!
//! # Violations of the protocol
//!
//! | violation | close code |
//! |---|---|
//! | a frame that RFC 6455 does not allow | 1002 |
//! | text or a close reason that is not UTF-8, or compressed data that is not valid | 1007 |
//! | a message larger than [`Limits::max_message`] | 1009 |
//!
//! The connection ends with [`Ending::Violation`], which has the [`ProtocolError`].
//!
//! # Receive buffers
//!
//! [`Config::buffers`] sets the receive buffers of each shard. Idle connections hold none. When all
//! of them are in use, connections wait until some are returned; nothing is lost.
//!
//! Next: [admission](super::admission).
//!
//! [`CloseReason`]: crate::CloseReason
//! [`Config`]: crate::Config
//! [`Config::buffers`]: crate::Config::buffers
//! [`Config::close_limit`]: crate::Config::close_limit
//! [`Config::close_timeout`]: crate::Config::close_timeout
//! [`Config::handshake_timeout`]: crate::Config::handshake_timeout
//! [`Config::idle_timeout`]: crate::Config::idle_timeout
//! [`Config::keep_alive_timeout`]: crate::Config::keep_alive_timeout
//! [`Config::max_lifetime`]: crate::Config::max_lifetime
//! [`Config::purge_allocator`]: crate::Config::purge_allocator
//! [`Config::stop_timeout`]: crate::Config::stop_timeout
//! [`Config::write_timeout`]: crate::Config::write_timeout
//! [`ConfigError`]: crate::ConfigError
//! [`ConnectError::Timeout`]: crate::ConnectError::Timeout
//! [`Counters`]: crate::Counters
//! [`Counters::lifetime_closes`]: crate::Counters::lifetime_closes
//! [`Counters::stalls`]: crate::Counters::stalls
//! [`Ending::Idle`]: crate::Ending::Idle
//! [`Ending::Unanswered`]: crate::Ending::Unanswered
//! [`Ending::Violation`]: crate::Ending::Violation
//! [`Ending::WriteTimeout`]: crate::Ending::WriteTimeout
//! [`Limits`]: crate::Limits
//! [`Limits::low_water`]: crate::Limits::low_water
//! [`Limits::max_buffered`]: crate::Limits::max_buffered
//! [`Limits::max_connections`]: crate::Limits::max_connections
//! [`Limits::max_head`]: crate::Limits::max_head
//! [`Limits::max_memory`]: crate::Limits::max_memory
//! [`Limits::max_message`]: crate::Limits::max_message
//! [`Limits::max_requests`]: crate::Limits::max_requests
//! [`Limits::message_timeout`]: crate::Limits::message_timeout
//! [`OnMemoryLimit::Pause`]: crate::OnMemoryLimit::Pause
//! [`ProtocolError`]: crate::ProtocolError
