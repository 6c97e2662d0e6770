//! Compression of messages: permessage-deflate (RFC 7692).
//!
//! It is off by default, because on a fast network it costs more time than it saves.
//! [`Config::deflate`] turns it on, in both roles: a server agrees to it where a client offers it,
//! and a client offers it.
//!
//! The main choice is context takeover:
//!
//! - [`Deflate::shared`] compresses each message by itself. All connections of a shard share one
//!   compressor and one inflater, and an idle connection keeps nothing.
//! - [`Deflate::takeover`] compresses each message with the help of those before it. Short messages
//!   that resemble each other get much smaller, and each connection that uses it keeps a compressor
//!   of up to 371 KiB ([`Deflate::own_takeover`]) and an inflater of up to 46 KiB
//!   ([`Deflate::peer_takeover`]).
//!
//! Messages from [`Deflate::threshold`] (128 B) to [`Deflate::max_size`] (1 MiB) are compressed;
//! [`Message::compress`] decides for a single one. A reply is compressed only if
//! the message was.
//! [`Connection::is_compressing`] reports whether a connection has negotiated compression.
//!
//! ```
//! use ringway::{Config, Connection, Deflate, Handler, Message, Request, Upgrade};
//!
//! /// Compresses its answers, except secrets beside text that the peer has chosen.
//! struct Feed;
//!
//! impl Handler for Feed {
//!     type State = ();
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
//!         Upgrade::accept(())
//!     }
//!
//!     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
//!         let echoed = format!("token=4711 you said {}", message.as_text().unwrap_or_default());
//!         let _ = conn.send(Message::text(&echoed).compress(false));
//!     }
//! }
//!
//! let config = Config::default().deflate(Some(Deflate::shared().level(6)?));
//! # let _ = (config, Feed);
//! # Ok::<(), ringway::ConfigError>(())
//! ```
//!
//! A compressed message can be a thousand times as large as its frame. [`Limits::max_message`]
//! limits the inflated message while it is inflated, compressors and inflaters count against
//! [`Limits::max_memory`], and a connection inflates 128 KiB in one turn,
//! or less if the data compresses to more than an eighth of its size. Messages longer than
//! [`Deflate::max_size`] are sent uncompressed, because a shard does nothing else while it
//! compresses.
//!
//! Next: [running](super::running).
//!
//! [`Config::deflate`]: crate::Config::deflate
//! [`Connection::is_compressing`]: crate::Connection::is_compressing
//! [`Deflate::max_size`]: crate::Deflate::max_size
//! [`Deflate::own_takeover`]: crate::Deflate::own_takeover
//! [`Deflate::peer_takeover`]: crate::Deflate::peer_takeover
//! [`Deflate::shared`]: crate::Deflate::shared
//! [`Deflate::takeover`]: crate::Deflate::takeover
//! [`Deflate::threshold`]: crate::Deflate::threshold
//! [`Limits::max_memory`]: crate::Limits::max_memory
//! [`Limits::max_message`]: crate::Limits::max_message
//! [`Message::compress`]: crate::Message::compress
