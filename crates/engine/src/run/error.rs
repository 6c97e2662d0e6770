//! Errors of starting and running shards.
//!
//! The text of an error includes its cause, so that one line of a log is enough. In that case
//! `source` is `None` and the cause is in the variant, so that printing the chain of errors repeats
//! nothing.

use crate::config::ConfigError;
use crate::run::placement::PlacementError;
use ringway_io::epoll::EpollError;
use ringway_io::uring::{SetupError, Unavailable};
use ringway_io::{BindError, InheritError};
use std::io;

/// Why the shards could not start. No shard runs then.
///
/// ```
/// use ringway::{Client, Connection, Handler, Message, Shards, StartError};
/// # struct Quiet;
/// # impl Handler for Quiet {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &ringway::Request<'_>) -> ringway::Upgrade<()> { ringway::Upgrade::accept(()) }
/// #     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
/// # }
///
/// let error = Client::new().shards(Shards::Count(0)).start(|_| Quiet).unwrap_err();
/// assert!(matches!(&error, StartError::Config(option) if option.option == "shards"));
/// assert_eq!(error.to_string(), "shards is 0: give 1 to 1024");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address could not be parsed, or the name has no address.
    #[error("cannot listen on {0:?}: {1}")]
    Address(String, io::Error),
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket that another process has opened cannot be listened on.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// No address of a name can be listened on. Contains one error for each address.
    #[error("no address of {0:?} works: {list}", list = .1.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoAddress(String, Vec<BindError>),
    /// io_uring is unavailable.
    #[error(transparent)]
    Refused(#[from] Unavailable),
    /// No epoll set could be opened for a shard.
    #[error("cannot open an epoll set: {0}; raise the limit of open files (`ulimit -n`)")]
    Epoll(io::Error),
    /// The driver of a shard cannot receive datagrams.
    #[error("cannot receive datagrams for the echo service: {0}")]
    Datagrams(io::Error),
    /// The shards could not be assigned to cores, or could not be pinned to them.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}; raise the limit of processes (`ulimit -u`)")]
    Thread(io::Error),
    /// The thread of this shard panicked before the shard ran.
    #[error("shard {0} panicked while it started")]
    Panicked(usize),
}

impl From<SetupError> for StartError {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Option(error) => Self::Config(error.into()),
            SetupError::Unavailable(error) => error.into(),
        }
    }
}

impl From<EpollError> for StartError {
    fn from(error: EpollError) -> Self {
        match error {
            EpollError::Option(error) => Self::Config(error.into()),
            EpollError::Refused(error) => Self::Epoll(error),
        }
    }
}

/// Why running shards ended with an error, or could not be stopped by signals.
///
/// ```
/// use ringway::RunError;
///
/// fn exit_code(error: &RunError) -> u8 {
///     match error {
///         RunError::Panicked(_) => 101,
///         _ => 1,
///     }
/// }
/// assert_eq!(exit_code(&RunError::Panicked(3)), 101);
/// assert_eq!(RunError::Panicked(3).to_string(), "shard 3 panicked");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The driver of this shard failed.
    #[error("shard {0} failed: {1}")]
    Shard(usize, io::Error),
    /// This shard panicked, most likely in its handler.
    #[error("shard {0} panicked")]
    Panicked(usize),
    /// Handlers for the signals could not be installed.
    #[error("cannot watch SIGINT and SIGTERM: {0}")]
    Signals(io::Error),
}

/// Why [`Server::run`](crate::Server::run) ended: the shards did not start, or ended with an error.
/// Text and source are those of the inner error.
///
/// ```no_run
/// use ringway::{Server, ServeError};
/// # use ringway::{Connection, Handler, Message};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &ringway::Request<'_>) -> ringway::Upgrade<()> { ringway::Upgrade::accept(()) }
/// #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
/// # }
///
/// match Server::bind("127.0.0.1:9001")?.run(|_| Echo) {
///     Err(ServeError::Start(error)) => eprintln!("not started: {error}"),
///     Err(error) => eprintln!("{error}"),
///     Ok(()) => {}
/// }
/// # Ok::<(), ServeError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The shards did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The shards ended with an error.
    #[error(transparent)]
    Run(#[from] RunError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConnectError, HandshakeError, OpeningStage, TargetError};
    use std::error::Error;

    /// Prints an error and its sources, as most programs do.
    fn chain(error: &dyn Error) -> String {
        match error.source() {
            Some(source) => format!("{error}: {}", chain(source)),
            None => error.to_string(),
        }
    }

    #[test]
    fn no_error_repeats_its_source() {
        let cause = || io::Error::other("the cause");
        let target = TargetError::Port("99999".into());
        let errors: Vec<Box<dyn Error>> = vec![
            Box::new(StartError::Address("nowhere".into(), cause())),
            Box::new(StartError::Thread(cause())),
            Box::new(StartError::Epoll(cause())),
            Box::new(StartError::Inherit(InheritError::Other(3, cause()))),
            Box::new(StartError::Bind(BindError::Other(([127, 0, 0, 1], 80).into(), cause()))),
            Box::new(StartError::Placement(PlacementError::Mask(cause()))),
            Box::new(StartError::Placement(PlacementError::Pin { core: 3, error: cause() })),
            Box::new(ServeError::Run(RunError::Shard(1, cause()))),
            Box::new(RunError::Signals(cause())),
            Box::new(ConnectError::Name("nowhere".into(), cause())),
            Box::new(ConnectError::Unreachable(cause())),
            Box::new(ConnectError::Lost(OpeningStage::Tls, cause())),
        ];
        for error in errors {
            assert_eq!(chain(&*error).matches("the cause").count(), 1, "{}", chain(&*error));
        }
        assert_eq!(chain(&ConnectError::Url(target.clone())), target.to_string());
        let handshake = HandshakeError::Status { status: 403, reason: "Forbidden".into() };
        let text = handshake.to_string();
        assert_eq!(chain(&ConnectError::Handshake(handshake)), text);
    }
}
