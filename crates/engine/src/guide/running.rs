//! Running: addresses, signals and stopping.
//!
//! [`Server::bind`] listens on an address, or on all addresses of a name that work, and
//! [`Server::and_bind`] on further ones. `unix:/run/app.sock` is a Unix socket;
//! [`Server::bind_unix`] sets the permissions and the owner of its file too. Connections wait in
//! the kernel's backlog until the shards run. Then there are two ways:
//!
//! - [`Server::run`] starts the shards and returns after SIGINT or SIGTERM has stopped them.
//! - [`Server::start`] starts them and returns a [`Running`], which has the addresses, the handles
//!   of the shards, [`Running::stop`] and [`Running::wait`].
//!
//! ```
//! use ringway::{Connection, Handler, Message, Request, Server, Shards, Upgrade};
//! # struct Echo;
//! # impl Handler for Echo {
//! #     type State = ();
//! #     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> { Upgrade::accept(()) }
//! #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
//! # }
//!
//! let running = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).start(|_| Echo)?;
//! running.stop_on_signals()?;
//! println!("listening on {:?}: {}, {}", running.addresses(), running.driver(), running.assignment());
//! # running.stop();
//! for report in running.wait()? {
//!     println!("shard {}: {} connections, {:?}", report.index, report.stats.accepted, report.counters);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Draining
//!
//! A shard that ends drains first. [`DrainReason::Stop`] is the end of the server, with 1001;
//! [`DrainReason::HandOver`] closes with 1012, because another process has the listening sockets
//! already. The order of a stop:
//!
//! 1. [`Readiness`] is false, so that a health check fails, and connections are still accepted, for
//!    [`Config::drain_delay`].
//! 2. The accepts are cancelled, and the connections that wait in the queues of the listeners are
//!    accepted. From here on each request for a WebSocket is answered with 503; other requests go to
//!    [`Handler::request`]. The queue of a socket that another process has opened is left to it.
//! 3. Open connections get a close frame, in random order, [`Config::drain_rate`] per second.
//! 4. [`Config::stop_timeout`] after the first step, what is left is dropped.
//!
//! A hand-over ([`handover`](crate::handover)) ends accepting at once and leaves the queues to the
//! successor; opening handshakes in progress are completed, and then closed. [`ShardReport::drain`] and the log (level info) have the
//! number of connections by their end.
//!
//! [`Running::stop`] and [`Running::drain`] drain all shards; [`Shard::drain`] and
//! [`ShardHandle::drain`] drain one. None of these calls waits, and they work when the mailbox of
//! the shard is full. Time in which the process is stopped does not count.
//!
//! [`Running::stop_on_signals`] stops the shards at the first SIGINT or SIGTERM; the second one has
//! its default action and ends the process. When one shard fails, [`Running::wait`] stops the
//! others and returns the error.
//!
//! # Tracing
//!
//! A [`WireTap`](crate::WireTap) reports what goes over the first connections of a server or client
//! ([`TapOptions::connections`](crate::TapOptions::connections)): the opening handshake and all
//! frames in both directions, as plaintext also under TLS, with times. Another thread reads the
//! events ([`TapReader`](crate::TapReader)), and shows or records them. The queue in between is
//! bounded: a shard never waits, and what does not fit is lost, which the offsets in the events show.
//!
//! # What the machine must offer
//!
//! - io_uring, from Linux 6.1 on. Where it is refused, the shards use epoll, and a warning names the
//!   cause (a sysctl, seccomp or the kernel's age) and the remedy. With
//!   [`DriverChoice::Uring`](crate::DriverChoice::Uring), starting fails instead, with
//!   [`UringUnavailable`].
//! - A descriptor for each connection. [`raise_descriptor_limit`] raises the soft limit to the hard
//!   one. When descriptors run out, a shard stops accepting, logs a warning, serves its open
//!   connections, and accepts again when one is free.
//!
//! The engine logs with `tracing`: warnings for what an operator should change, errors for panics.
//! [`ShardReport`] has what a shard has counted; [`Shard::counters`] has a part of it while it
//! runs.
//!
//! Next: [being a client](super::clients).
//!
//! [`Config::drain_delay`]: crate::Config::drain_delay
//! [`Config::drain_rate`]: crate::Config::drain_rate
//! [`Config::stop_timeout`]: crate::Config::stop_timeout
//! [`DrainReason::HandOver`]: crate::DrainReason::HandOver
//! [`DrainReason::Stop`]: crate::DrainReason::Stop
//! [`Handler::request`]: crate::Handler::request
//! [`Readiness`]: crate::Readiness
//! [`Running`]: crate::Running
//! [`Running::drain`]: crate::Running::drain
//! [`Running::stop`]: crate::Running::stop
//! [`Running::stop_on_signals`]: crate::Running::stop_on_signals
//! [`Running::wait`]: crate::Running::wait
//! [`Server::and_bind`]: crate::Server::and_bind
//! [`Server::bind`]: crate::Server::bind
//! [`Server::bind_unix`]: crate::Server::bind_unix
//! [`Server::run`]: crate::Server::run
//! [`Server::start`]: crate::Server::start
//! [`Shard::counters`]: crate::Shard::counters
//! [`Shard::drain`]: crate::Shard::drain
//! [`ShardHandle::drain`]: crate::ShardHandle::drain
//! [`ShardReport`]: crate::ShardReport
//! [`ShardReport::drain`]: crate::ShardReport::drain
//! [`UringUnavailable`]: crate::UringUnavailable
//! [`raise_descriptor_limit`]: crate::raise_descriptor_limit
