//! Errors: one type for each occasion.
//!
//! | error | occasion |
//! |---|---|
//! | [`ConfigError`], [`OptionError`] | a setter: the value is out of its range |
//! | [`StartError`] | binding and starting; nothing runs then |
//! | [`RunError`] | running: a shard has failed, or the signals cannot be watched |
//! | [`ServeError`] | [`Server::run`]: either of the two above |
//! | [`ConnectError`] | a connection of the client role could not be opened |
//! | [`CloseReason`] | a connection that was open has ended, in order or not |
//! | [`CodeNotSendable`], [`PingTooLong`] | a call that the protocol does not allow |
//! | [`PostError`] | work for a shard was not taken |
//! | [`SendOutcome`] | a message was not taken; the application decides what to do |
//!
//! The text of an error is one line, which includes the cause and, where there is one, the remedy.
//! `source` is `None` if the text includes the cause, so printing the whole chain prints nothing
//! twice. All of these types are `#[non_exhaustive]` where further cases may come, so a `match`
//! needs an arm for the rest.
//!
//! ```
//! use ringway::{Server, StartError};
//!
//! match Server::bind("240.0.0.1:80") {
//!     Err(StartError::Bind(error)) => eprintln!("choose another address: {error}"),
//!     Err(error) => eprintln!("{error}"),
//!     Ok(_) => unreachable!("no machine has an address of 240.0.0.0/4"),
//! }
//! ```
//!
//! [`CloseReason`]: crate::CloseReason
//! [`CodeNotSendable`]: crate::CodeNotSendable
//! [`ConfigError`]: crate::ConfigError
//! [`ConnectError`]: crate::ConnectError
//! [`OptionError`]: crate::OptionError
//! [`PingTooLong`]: crate::PingTooLong
//! [`PostError`]: crate::PostError
//! [`RunError`]: crate::RunError
//! [`SendOutcome`]: crate::SendOutcome
//! [`ServeError`]: crate::ServeError
//! [`Server::run`]: crate::Server::run
//! [`StartError`]: crate::StartError
