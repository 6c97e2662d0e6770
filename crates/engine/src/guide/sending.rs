//! Sending, and backpressure.
//!
//! There are three ways to send a message:
//!
//! - [`Connection::reply`] sends a received message back. In the server role it copies nothing: the
//!   reply's header is written in front of the payload, in the buffer that the kernel filled.
//! - [`Connection::send`] copies a message into the connection's outbox. A message of two parts
//!   ([`Message::text_parts`], [`Message::binary_parts`]) has a head of its own and a body that
//!   many messages share; they become one frame.
//! - [`Connection::send_prepared`] sends a [`Prepared`] message, which is encoded once for any
//!   number of connections, on this shard and on others. Use it for broadcasts.
//!
//! # Backpressure
//!
//! A peer can read more slowly than the application writes. The output that waits for it is queued
//! in the connection's outbox, up to the high-water mark [`Limits::max_buffered`] (1 MiB).
//! [`SendOutcome`] reports the outcome:
//!
//! | outcome | meaning |
//! |---|---|
//! | [`Sent`](crate::SendOutcome::Sent) | it leaves at the end of this turn |
//! | [`Queued`](crate::SendOutcome::Queued) | it waits behind others; so many bytes wait in all |
//! | [`Full`](crate::SendOutcome::Full) | it would exceed the mark, and is handed back |
//! | [`Closed`](crate::SendOutcome::Closed) | the connection is closing, and it is handed back |
//! | [`TooLarge`](crate::SendOutcome::TooLarge) | the payload has more than 1 GiB, and is handed back |
//!
//! After `Queued` and `Full`, [`Handler::drained`] is called once: when the output has fallen to the
//! low-water mark [`Limits::low_water`] (half of the other mark), or, if it was never above that,
//! when the outbox is empty. After `Sent` it is not called. Nothing is dropped by the engine; the application decides what happens to a message
//! that is handed back:
//!
//! - It keeps the message, or the position in its source, and continues in `drained`.
//! - It drops the message, counts it, and says so in `drained`, as the example `chat` does.
//! - It closes the connection, with [`Connection::close`] or [`Connection::terminate`].
//!
//! ```
//! use ringway::{Connection, Handler, Message, Request, SendOutcome, Upgrade};
//! use std::ops::Range;
//!
//! /// Sends a million numbers to each client, no faster than the client reads.
//! struct Counting;
//!
//! impl Handler for Counting {
//!     /// The numbers that are still to be sent.
//!     type State = Range<u32>;
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Range<u32>> {
//!         Upgrade::accept(0..1_000_000)
//!     }
//!
//!     fn open(&mut self, conn: &mut Connection<'_, Self>) {
//!         self.drained(conn);
//!     }
//!
//!     fn drained(&mut self, conn: &mut Connection<'_, Self>) {
//!         while !conn.state().is_empty() {
//!             let number = conn.state().start;
//!             match conn.send(Message::binary(&number.to_be_bytes())) {
//!                 SendOutcome::Sent | SendOutcome::Queued(_) => conn.state().start += 1,
//!                 // `drained` is called again when half of these are sent.
//!                 _ => return,
//!             }
//!         }
//!     }
//!
//!     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
//! }
//! # let _ = Counting;
//! ```
//!
//! # Replies
//!
//! A reply is never handed back. Instead, a connection whose outbox exceeds the high-water mark is
//! read up to the next message only, which is delivered when the output has fallen to the low-water
//! mark. A peer that sends and does not read is stopped by the kernel's flow control, and an echo
//! server needs no code for it.
//!
//! Control frames always have room: a ping of a peer above the mark is answered, with up to 4 KiB
//! of pongs, and so is its close frame.
//!
//! A peer that takes nothing of its output for [`Config::write_timeout`] is dropped. A slow reader
//! that keeps reading is not.
//!
//! Next: [topics](super::topics).
//!
//! [`Config::write_timeout`]: crate::Config::write_timeout
//! [`Connection::close`]: crate::Connection::close
//! [`Connection::reply`]: crate::Connection::reply
//! [`Connection::send`]: crate::Connection::send
//! [`Connection::send_prepared`]: crate::Connection::send_prepared
//! [`Connection::terminate`]: crate::Connection::terminate
//! [`Handler::drained`]: crate::Handler::drained
//! [`Message::binary_parts`]: crate::Message::binary_parts
//! [`Message::text_parts`]: crate::Message::text_parts
//! [`Limits::low_water`]: crate::Limits::low_water
//! [`Limits::max_buffered`]: crate::Limits::max_buffered
//! [`Prepared`]: crate::Prepared
//! [`SendOutcome`]: crate::SendOutcome
