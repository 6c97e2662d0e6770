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
//! println!("listening on {:?}: {}, {}", running.addresses(), running.driver(), running.assignment());
//! running.stop_on_signals()?;
//! # running.stop();
//! for report in running.wait()? {
//!     println!("shard {}: {} connections, {:?}", report.index, report.stats.accepted, report.counters);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Stopping
//!
//! A shard that stops accepts no more connections and closes its own with 1001. It ends when they
//! have ended, or after [`Config::stop_timeout`]. [`Running::stop`] stops all shards;
//! [`Shard::stop`] and [`ShardHandle::stop`] stop one. None of these calls waits, and they work
//! when the mailbox of the shard is full.
//!
//! [`Running::stop_on_signals`] stops the shards at the first SIGINT or SIGTERM; the second one has
//! its default action and ends the process. When one shard fails, [`Running::wait`] stops the
//! others and returns the error.
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
//! [`Config::stop_timeout`]: crate::Config::stop_timeout
//! [`Running`]: crate::Running
//! [`Running::stop`]: crate::Running::stop
//! [`Running::stop_on_signals`]: crate::Running::stop_on_signals
//! [`Running::wait`]: crate::Running::wait
//! [`Server::and_bind`]: crate::Server::and_bind
//! [`Server::bind`]: crate::Server::bind
//! [`Server::bind_unix`]: crate::Server::bind_unix
//! [`Server::run`]: crate::Server::run
//! [`Server::start`]: crate::Server::start
//! [`Shard::counters`]: crate::Shard::counters
//! [`Shard::stop`]: crate::Shard::stop
//! [`ShardHandle::stop`]: crate::ShardHandle::stop
//! [`ShardReport`]: crate::ShardReport
//! [`UringUnavailable`]: crate::UringUnavailable
//! [`raise_descriptor_limit`]: crate::raise_descriptor_limit
