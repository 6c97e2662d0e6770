//! Shards: threads that share nothing.
//!
//! A **shard** is a thread with a driver (io_uring or epoll), a listener and connections of its own. The kernel
//! distributes new connections over the listeners (`SO_REUSEPORT`), and a connection stays on its
//! shard until it ends. With [`Accept::Balanced`] it is the shard with the fewest connections, which
//! is another one than the kernel has chosen as a rule. [`Shards`] sets the number of shards, [`Cores`] the cores they are pinned
//! to, and [`placement`] states the rule that joins both. By default there is one shard for each
//! core that the process may run on, or the cgroup's CPU quota in whole cores if that is less.
//!
//! A **handler** is the application. The function given to [`Server::start`] is called once on each
//! shard's thread and makes the handler of that shard. A handler therefore needs neither `Send` nor
//! `Sync`, needs no locks, and can hold an `Rc` or a `RefCell`.
//!
//! # Turns
//!
//! A shard works in turns: it waits for the kernel, handles everything that has happened, and
//! submits the resulting operations with one system call. What a handler sends during a turn leaves
//! at its end. [`Shard::turn_time`] is the time at which the turn began.
//!
//! While a method of the handler runs, nothing else happens on its shard. A method therefore must
//! not block: no file or database access, no lock that is held for long, no password hashing. Such
//! work belongs on another thread, which posts the result back. The example `authentication` shows
//! this for the opening handshake.
//!
//! One connection cannot take a turn for itself. After 2048 frames, 2 MiB of payload, 128 KiB
//! of inflated payload or 1 ms, its remaining input waits for the next turn
//! ([`Counters::yields`](crate::Counters::yields)).
//!
//! # From one shard to another
//!
//! A [`ShardHandle`] posts a closure to a shard from any thread: another shard, or a thread of the
//! application. It runs on the shard's thread, with the handler and the [`Shard`], in the order of
//! posting. The mailbox of a shard holds 4096 closures; [`PostError::Full`] means that the shard
//! has not kept up, and the poster decides what to do. A handler must not wait for room: two shards
//! that wait for each other would never continue.
//!
//! ```
//! use ringway::{Connection, Handler, Message, Prepared, Request, Server, Shard, ShardHandle, Shards, Upgrade};
//!
//! /// Sends each message to the connections of all shards.
//! struct Everybody {
//!     shards: Vec<ShardHandle<Self>>,
//! }
//!
//! impl Handler for Everybody {
//!     type State = ();
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
//!         Upgrade::accept(())
//!     }
//!
//!     fn message(&mut self, _: &mut Connection<'_, Self>, message: Message<'_>) {
//!         // Encoded once; the clones share the bytes.
//!         let prepared = Prepared::binary(message.payload());
//!         for shard in &self.shards {
//!             let prepared = prepared.clone();
//!             if let Err(error) = shard.post(move |_, shard| deliver(shard, &prepared)) {
//!                 eprintln!("one shard misses a message: {error}");
//!             }
//!         }
//!     }
//! }
//!
//! fn deliver(shard: &mut Shard<'_, Everybody>, prepared: &Prepared) {
//!     // A connection that does not read misses the message.
//!     shard.for_each_connection(|conn| drop(conn.send_prepared(prepared)));
//! }
//!
//! let server = Server::bind("127.0.0.1:0")?.shards(Shards::Count(2));
//! let running = server.start(|_| Everybody { shards: Vec::new() })?;
//! // The handlers exist now: each one is given the handles of all shards, its own included.
//! for handle in running.handles() {
//!     let shards = running.handles().to_vec();
//!     handle.post(move |everybody, _| everybody.shards = shards)?;
//! }
//! # running.stop();
//! # running.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Next: [the life of a connection](super::connections).
//!
//! [`Accept::Balanced`]: crate::Accept::Balanced
//! [`Cores`]: crate::Cores
//! [`PostError::Full`]: crate::PostError::Full
//! [`Server::start`]: crate::Server::start
//! [`Shard`]: crate::Shard
//! [`Shard::turn_time`]: crate::Shard::turn_time
//! [`ShardHandle`]: crate::ShardHandle
//! [`Shards`]: crate::Shards
//! [`placement`]: crate::placement
