//! TLS in both roles: certificates, verification, and what a connection with TLS costs.
//!
//! # Servers
//!
//! [`TlsConfig`] has the certificates of a server, and [`Server::tls`] applies it to the addresses
//! of the call before it. Addresses with and without TLS work in one process, with the same
//! handlers.
//!
//! ```no_run
//! use ringway::{Connection, Handler, Message, Request, Server, TlsConfig, Upgrade};
//! # struct Echo;
//! # impl Handler for Echo {
//! #     type State = ();
//! #     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> { Upgrade::accept(()) }
//! #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
//! # }
//!
//! let tls = TlsConfig::from_files("chain.pem", "key.pem")?;
//! Server::bind("0.0.0.0:443")?.tls(&tls).and_bind("127.0.0.1:9001")?.run(|_shard| Echo)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Certificates and keys are checked when they are read: a [`TlsError`] names the file, the defect
//! and the remedy. A server with several certificates chooses by the name that the client asks for
//! (SNI). The files are read again on SIGHUP (with [`Running::stop_on_signals`]), when they change,
//! and by [`Running::reload_certificates`]; a defect keeps the former certificates, and is logged.
//! Open connections keep theirs.
//!
//! A handler reads the version, the cipher suite, the application protocol and the client's
//! certificate of a connection from [`Request::tls`] and [`Connection::tls`].
//!
//! # Clients
//!
//! An [`Endpoint`] with a `wss://` URL verifies its server with the root certificates of the
//! system. [`Endpoint::tls`] takes other options: own CAs, a certificate of the client, another
//! name. Verification is switched off by one constructor only, whose name says so.
//!
//! All connections of an endpoint share the sessions for resumption, which saves the signature and
//! the verification. TLS 1.3 uses each ticket once.
//!
//! # Limits
//!
//! The handshakes of TCP, TLS and WebSocket have one deadline together
//! ([`Config::handshake_timeout`]). Before its handshake is complete, a peer can send 16 KiB, or 64
//! KiB if it may send certificates. Early data is not accepted, and renegotiation is not possible.
//! A shard spends at most 500 µs of a turn on handshakes, so other connections are served in
//! between.
//!
//! # The end of a connection
//!
//! The close frame and the close_notify are sent together. A peer that ends its direction without a
//! close_notify, before the close frames, may be cut off by an attacker: the connection ends with
//! 1006 and [`Ending::Truncated`]. After the close frames that is harmless, and common. If the
//! layer fails, the alert is sent before the connection ends with [`Ending::Tls`].
//!
//! # Cost
//!
//! An idle connection with TLS takes 3.4 to 4 KiB more than a plain one, which rustls holds, and no
//! buffer. `docs/results/tls.md` in the repository has the CPU time of messages and handshakes.
//!
//! Next: [plain HTTP](super::http).
//!
//! [`Config::handshake_timeout`]: crate::Config::handshake_timeout
//! [`Connection::tls`]: crate::Connection::tls
//! [`Ending::Tls`]: crate::Ending::Tls
//! [`Ending::Truncated`]: crate::Ending::Truncated
//! [`Endpoint`]: crate::Endpoint
//! [`Endpoint::tls`]: crate::Endpoint::tls
//! [`Request::tls`]: crate::Request::tls
//! [`Running::reload_certificates`]: crate::Running::reload_certificates
//! [`Running::stop_on_signals`]: crate::Running::stop_on_signals
//! [`Server::tls`]: crate::Server::tls
//! [`TlsConfig`]: crate::TlsConfig
//! [`TlsError`]: crate::TlsError
