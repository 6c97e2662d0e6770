//! The builder for servers.

use super::error::{ServeError, StartError};
use super::handover::ECHO_PART;
use super::handover::{Predecessor, TakenListeners};
use super::launch::{Launch, Runner};
use super::listening;
use super::local::{LocalReport, LocalStart};
use super::running::Running;
use super::sockets::{ListenerGroup, ServerSockets};
use crate::api::handler::Handler;
use crate::config::{Config, Limits, Shards};
use crate::echo::options::EchoRates;
use crate::tls::TlsConfig;
use ringway_io::{BindError, DatagramSocket, Listener, UnixSocket};
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A WebSocket server that is listening, and accepts connections once it is started.
///
/// ```
/// use ringway::{Config, Connection, Handler, Limits, Message, Server, Shards, Request, Upgrade};
/// use std::time::Duration;
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &ringway::Request<'_>) -> ringway::Upgrade<()> { ringway::Upgrade::accept(()) }
/// #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
/// # }
///
/// let running = Server::bind("127.0.0.1:0")?
///     .shards(Shards::Count(2))
///     .config(Config::default().stop_timeout(Duration::from_secs(1))?)
///     .limits(Limits::default().max_message(64 << 10)?)
///     .start(|_shard| Echo)?;
/// println!("listening on {:?}", running.addresses());
/// running.stop();
/// running.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    listeners: Vec<ListenerGroup>,
    /// The listeners of the echo service.
    echo: Vec<ListenerGroup>,
    /// The TLS of each listener.
    tls: Vec<Option<TlsConfig>>,
    /// The number of the first listener of the latest call.
    latest: usize,
    /// The sockets of the server that this one replaces, which no call has asked for yet.
    former: Vec<ListenerGroup>,
    /// The same for the echo service.
    former_echo: Vec<ListenerGroup>,
    former_datagrams: Vec<Vec<DatagramSocket>>,
    datagrams: Vec<Vec<DatagramSocket>>,
    echo_rates: EchoRates,
    launch: Launch,
}

impl Server {
    /// Listens on an address, on all addresses of a name such as `localhost`, or on a Unix socket:
    /// `unix:/run/app.sock`, or `unix:@app` for an abstract name. [`Server::bind_unix`] takes the
    /// permissions of the socket file too.
    ///
    /// If one address of a name cannot be listened on, it is skipped with a warning in the log
    /// (`tracing`), as long as another one works: on machines without IPv6, `localhost` often has
    /// an IPv6 address.
    ///
    /// Port 0 lets the system choose a port, which is the same on all addresses of the name if
    /// possible.
    ///
    /// # Errors
    /// - [`StartError::Address`]: the address could not be parsed, or the name has no address.
    /// - [`StartError::Bind`]: the only address, or the Unix socket, cannot be listened on.
    /// - [`StartError::NoAddress`]: none of several addresses can be listened on.
    ///
    /// ```
    /// # use ringway::Server;
    /// let server = Server::bind("localhost:0")?;
    /// # Ok::<(), ringway::StartError>(())
    /// ```
    pub fn bind(address: impl ToSocketAddrs + Display) -> Result<Self, StartError> {
        Self::new().and_bind(address)
    }

    /// Listens on a Unix socket with the given permissions and owner of its file.
    ///
    /// The file of a server that is gone is replaced; that of one that listens is not. The file is
    /// removed when the shards have ended. A process that is killed leaves it behind.
    ///
    /// # Errors
    /// [`StartError::Bind`] with [`BindError::Unix`](crate::BindError::Unix).
    ///
    /// ```
    /// use ringway::{Server, UnixAddress, UnixSocket};
    ///
    /// let path = std::env::temp_dir().join(format!("ringway-chat-{}.sock", std::process::id()));
    /// let socket = UnixSocket::new(UnixAddress::from_path(path)?).mode(0o660)?;
    /// let server = Server::bind_unix(&socket)?.and_bind("127.0.0.1:0")?;
    /// # let _ = server;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bind_unix(socket: &UnixSocket) -> Result<Self, StartError> {
        Self::new().and_bind_unix(socket)
    }

    fn new() -> Self {
        Self {
            listeners: Vec::new(),
            echo: Vec::new(),
            tls: Vec::new(),
            latest: 0,
            former: Vec::new(),
            former_echo: Vec::new(),
            former_datagrams: Vec::new(),
            datagrams: Vec::new(),
            echo_rates: EchoRates::default(),
            launch: Launch::default(),
        }
    }

    /// Listens on a further Unix socket.
    ///
    /// # Errors
    /// As [`Server::bind_unix`].
    pub fn and_bind_unix(mut self, socket: &UnixSocket) -> Result<Self, StartError> {
        let is_asked = |group: &ListenerGroup| group.address().unix() == Some(socket.address());
        let group = match self.former.iter().position(is_asked) {
            Some(at) => self.former.swap_remove(at),
            None => Listener::bind_unix(socket)?.into(),
        };
        Ok(self.with([group]))
    }

    /// Listens on a further address, or on all addresses of a further name.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn and_bind(mut self, address: impl ToSocketAddrs + Display) -> Result<Self, StartError> {
        let fail = |error| StartError::Address(address.to_string(), error);
        let text = address.to_string();
        if text.starts_with("unix:") {
            let invalid = |error| fail(io::Error::new(io::ErrorKind::InvalidInput, error));
            return self.and_bind_unix(&UnixSocket::new(text.parse().map_err(invalid)?));
        }
        let addresses = resolve(&address, &text)?;
        let listening = listening::listen(&addresses, |address| listen_on(&self.former, address));
        let listeners = listening.any_of(&text)?;
        let is_taken = |group: &ListenerGroup| listeners.iter().any(|taken| taken.address() == group.address());
        self.former.retain(|group| !is_taken(group));
        Ok(self.with(listeners))
    }

    /// Listens on an address, or on all addresses of a name, for the echo service on TCP (RFC 862):
    /// what a connection sends comes back until it ends its direction. Its connections have the limits
    /// of the others: [`Limits::max_connections`], [`Limits::max_memory`], [`Limits::max_buffered`],
    /// [`Config::idle_timeout`], [`Config::write_timeout`], and [`Config::admission`] without the
    /// PROXY protocol. They are no connections of the handler, and have no TLS.
    ///
    /// A service that is open to others can be used to send traffic to it only, because TCP verifies
    /// addresses; nevertheless, do not offer it without a need.
    ///
    /// # Errors
    /// As [`Server::bind`], without Unix sockets.
    ///
    /// ```
    /// # use ringway::Server;
    /// let server = Server::bind("127.0.0.1:0")?.and_echo("127.0.0.1:0")?;
    /// # Ok::<(), ringway::StartError>(())
    /// ```
    pub fn and_echo(mut self, address: impl ToSocketAddrs + Display) -> Result<Self, StartError> {
        let text = address.to_string();
        let addresses = resolve(&address, &text)?;
        let listening = listening::listen(&addresses, |address| listen_on(&self.former_echo, address));
        let listeners = listening.any_of(&text)?;
        let is_taken = |group: &ListenerGroup| listeners.iter().any(|taken| taken.address() == group.address());
        self.former_echo.retain(|group| !is_taken(group));
        self.echo.extend(listeners);
        Ok(self)
    }

    /// Receives datagrams on an address, or on all addresses of a name, for the echo service on UDP
    /// (RFC 862): what arrives is sent back, as it is, by the address that it was sent to.
    ///
    /// Anyone can forge the address of a datagram. These are ignored, and counted
    /// ([`Counters`](crate::Counters)): datagrams from ports below 1024, from or to broadcast and
    /// multicast addresses, from a port of the service itself at any address, and those beyond
    /// [`Server::echo_rates`]. A reply is never longer than its request. Nevertheless, do not offer the
    /// service without a need.
    ///
    /// Starting fails if the driver has no datagrams ([`StartError::Datagrams`]).
    ///
    /// # Errors
    /// As [`Server::bind`], without Unix sockets.
    ///
    /// ```
    /// # use ringway::Server;
    /// let server = Server::bind("127.0.0.1:0")?.and_echo_datagrams("127.0.0.1:0")?;
    /// # Ok::<(), ringway::StartError>(())
    /// ```
    pub fn and_echo_datagrams(mut self, address: impl ToSocketAddrs + Display) -> Result<Self, StartError> {
        let text = address.to_string();
        for address in resolve(&address, &text)? {
            let is_asked = |group: &Vec<DatagramSocket>| {
                group.iter().any(|socket| {
                    let former = socket.address();
                    former.ip() == address.ip() && (address.port() == 0 || former.port() == address.port())
                })
            };
            let sockets = match self.former_datagrams.iter().position(is_asked) {
                Some(at) => self.former_datagrams.swap_remove(at),
                None => vec![DatagramSocket::bind(address)?],
            };
            self.datagrams.push(sockets);
        }
        Ok(self)
    }

    /// Sets how many datagrams the echo service answers.
    #[must_use]
    pub fn echo_rates(mut self, rates: EchoRates) -> Self {
        self.echo_rates = rates;
        self
    }

    /// Adds the listeners of one call.
    fn with(mut self, listeners: impl IntoIterator<Item = ListenerGroup>) -> Self {
        self.latest = self.listeners.len();
        self.listeners.extend(listeners);
        self.tls.resize(self.listeners.len(), None);
        self
    }

    /// Uses TLS on the addresses of the latest call of [`Server::bind`] or [`Server::and_bind`]. One
    /// process can serve addresses with TLS, also with different certificates, and without it.
    ///
    /// ```no_run
    /// use ringway::{Server, TlsConfig};
    ///
    /// let tls = TlsConfig::from_files("chain.pem", "key.pem")?;
    /// let server = Server::bind("0.0.0.0:443")?.tls(&tls).and_bind("127.0.0.1:9001")?;
    /// # let _ = server;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tls(mut self, config: &TlsConfig) -> Self {
        self.tls[self.latest..].fill(Some(config.clone()));
        self
    }

    /// Serves on listening sockets that another process has opened, such as a service manager
    /// (socket activation): of TCP, or Unix sockets.
    ///
    /// All shards accept from each socket: their listeners are duplicates of it, which share its
    /// queue of connections, and the kernel wakes the shards in turn. That costs a submission entry
    /// more for each connection (on epoll, two system calls) than with [`Server::bind`], where each
    /// shard has a queue of its own (`SO_REUSEPORT`). [`Server::and_bind`] adds further addresses. The driver changes
    /// the socket's `O_NONBLOCK`, also for the other processes that have it.
    ///
    /// # Errors
    /// [`StartError::Inherit`] if a descriptor is not a stream socket, or does not listen.
    ///
    /// ```
    /// use ringway::Server;
    /// use std::net::TcpListener;
    ///
    /// let server = Server::from_listeners([TcpListener::bind("127.0.0.1:0").unwrap()])?;
    /// # Ok::<(), ringway::StartError>(())
    /// ```
    pub fn from_listeners<S: Into<OwnedFd>>(sockets: impl IntoIterator<Item = S>) -> Result<Self, StartError> {
        Self::new().and_listeners(sockets)
    }

    /// Serves on further sockets that another process has opened, as [`Server::from_listeners`] does.
    ///
    /// # Errors
    /// As [`Server::from_listeners`].
    pub fn and_listeners<S: Into<OwnedFd>>(mut self, sockets: impl IntoIterator<Item = S>) -> Result<Self, StartError> {
        let listeners: Vec<_> = sockets.into_iter().map(Listener::inherit).collect::<Result<_, _>>()?;
        let groups = ListenerGroup::merge(listeners, &mut self.former)?;
        Ok(self.with(groups))
    }

    /// Serves on all listening sockets of the server that this one replaces, with the given TLS on
    /// the addresses that had TLS there. [`Server::taking_over`] serves on the addresses that are
    /// asked for.
    ///
    /// The number of shards may differ from that of the former server: fewer sockets than shards get
    /// siblings, and of more sockets each shard gets several.
    ///
    /// # Errors
    /// [`StartError::Inherit`] if a socket does not listen any more.
    pub fn from_predecessor(predecessor: &mut Predecessor, tls: Option<&TlsConfig>) -> Result<Self, StartError> {
        let TakenListeners { listeners, secure } = predecessor.take_listeners(0)?;
        let mut server = Self::new().with(ListenerGroup::by_address(listeners));
        (server.former_echo, server.former_datagrams) = former_echo(predecessor)?;
        for (group, own) in server.listeners.iter().zip(&mut server.tls) {
            if secure.contains(group.address()) {
                *own = tls.cloned();
            }
        }
        Ok(server)
    }

    /// A server without addresses, which takes over the listening sockets of the server that it
    /// replaces: [`Server::and_bind`], [`Server::and_bind_unix`] and [`Server::and_listeners`] use the
    /// former server's sockets for the same address, and open one if it had none. Port 0 stands for
    /// any port of the former server. [`handover`](crate::handover) has an example.
    ///
    /// Sockets for other addresses are closed when the server starts, with a line in the log
    /// (`tracing`): connections in their queues are reset when the former server has stopped
    /// accepting, and later ones are refused. The permissions of a Unix socket's file stay as they are.
    ///
    /// The number of shards may differ, as with [`Server::from_predecessor`].
    ///
    /// # Errors
    /// [`StartError::Inherit`] if a socket does not listen any more.
    pub fn taking_over(predecessor: &mut Predecessor) -> Result<Self, StartError> {
        Self::taking_over_part(predecessor, 0)
    }

    /// As [`Server::taking_over`], with the sockets of another server of that process
    /// ([`OfferOptions::part`](crate::handover::OfferOptions::part)).
    ///
    /// # Errors
    /// As [`Server::taking_over`].
    pub fn taking_over_part(predecessor: &mut Predecessor, part: u8) -> Result<Self, StartError> {
        let former = ListenerGroup::by_address(predecessor.take_listeners(part)?.listeners);
        let (former_echo, former_datagrams) = if part == 0 { former_echo(predecessor)? } else { Default::default() };
        Ok(Self { former, former_echo, former_datagrams, ..Self::new() })
    }

    /// Sets the number of shards. Default: one for each core. Starting checks the number.
    #[must_use]
    pub fn shards(mut self, shards: Shards) -> Self {
        self.launch.shards = shards;
        self
    }

    /// Sets the operator's options.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.launch.config = config;
        self
    }

    /// Sets the bounds on the resources that a peer can use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.launch.limits = limits;
        self
    }

    /// Starts the shards and returns. `make` is called on each shard's own thread with the shard's
    /// number.
    ///
    /// # Errors
    /// A [`StartError`] if an option is out of range, io_uring is unavailable, a core is not
    /// allowed, or a thread cannot be started. No shard runs then.
    pub fn start<H, F>(self, make: F) -> Result<Running<H>, StartError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        for group in self.former.iter().chain(&self.former_echo) {
            tracing::warn!(address = %group.address(), "the former server listened here, and this one does not");
        }
        for socket in self.former_datagrams.iter().flat_map(|group| group.first()) {
            tracing::warn!(address = %socket.address(), "the former server answered datagrams here, and this one does not");
        }
        let sockets = ServerSockets {
            listeners: self.listeners,
            echo: self.echo,
            datagrams: self.datagrams,
            echo_rates: self.echo_rates,
        };
        self.launch.start(sockets, &self.tls, Arc::new(make))
    }

    /// Starts the shards as [`Server::start`] does, and runs each with `run` on its thread, which is
    /// pinned to its core: in an asynchronous runtime, for example. `run` opens the shard on a driver,
    /// runs turns until one returns `false`, and returns the report of the shard. The options of the
    /// driver have no effect.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_local<H, F, R>(self, make: F, run: R) -> Result<Running<H>, StartError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
        R: Fn(LocalStart<H>) -> io::Result<LocalReport> + Send + Sync + 'static,
    {
        self.launch.config.check_local()?;
        let runner: Runner<H> = Arc::new(move |start| run(LocalStart::new(start)).map(|report| report.0));
        let sockets = ServerSockets {
            listeners: self.listeners,
            echo: self.echo,
            datagrams: self.datagrams,
            echo_rates: self.echo_rates,
        };
        self.launch.start_with(sockets, &self.tls, Arc::new(make), "tokio-uring".to_owned(), &runner)
    }

    /// Runs until SIGINT or SIGTERM. The connections are then closed with 1001, and the shards end
    /// within [`Config::drain_delay`] and [`Config::stop_timeout`]. A second signal ends the process
    /// at once.
    ///
    /// # Errors
    /// [`ServeError::Start`] as [`Server::start`], [`ServeError::Run`] as
    /// [`Running::stop_on_signals`] and [`Running::wait`].
    pub fn run<H, F>(self, make: F) -> Result<(), ServeError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        let running = self.start(make)?;
        running.stop_on_signals()?;
        running.wait()?;
        Ok(())
    }
}

/// The addresses of a name, of which there is at least one.
fn resolve(address: &impl ToSocketAddrs, text: &str) -> Result<Vec<SocketAddr>, StartError> {
    let fail = |error| StartError::Address(text.to_owned(), error);
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(fail)?.collect();
    if addresses.is_empty() {
        return Err(fail(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

/// The sockets of the echo service of the former server: on TCP, and on UDP by address.
fn former_echo(predecessor: &mut Predecessor) -> Result<(Vec<ListenerGroup>, Vec<Vec<DatagramSocket>>), StartError> {
    let mut groups: Vec<Vec<DatagramSocket>> = Vec::new();
    for socket in predecessor.take_datagrams()? {
        match groups.iter_mut().find(|group| group[0].address() == socket.address()) {
            Some(group) => group.push(socket),
            None => groups.push(vec![socket]),
        }
    }
    Ok((ListenerGroup::by_address(predecessor.take_listeners(ECHO_PART)?.listeners), groups))
}

/// The sockets of the former server for this address, or else a new one. Port 0 is any port of the
/// former server, or a free one.
fn listen_on(former: &[ListenerGroup], address: SocketAddr) -> Result<ListenerGroup, BindError> {
    let is_asked = |group: &&ListenerGroup| {
        let former = group.address().tcp();
        former.is_some_and(|of| of.ip() == address.ip() && (address.port() == 0 || of.port() == address.port()))
    };
    match former.iter().find(is_asked) {
        Some(group) => group.duplicate().map_err(|error| BindError::Other(address, error)),
        None => Listener::bind(address).map(ListenerGroup::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cores, Request, Upgrade};
    use ringway_io::InheritError;
    use std::fmt;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// A name with these addresses. No interface has an address of 240.0.0.0/4, which is reserved
    /// (RFC 1112 section 4).
    struct Name(&'static [&'static str]);

    impl fmt::Display for Name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("name.test")
        }
    }

    impl ToSocketAddrs for Name {
        type Iter = std::vec::IntoIter<SocketAddr>;

        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            let addresses = self.0.iter().map(|text| text.parse().expect("an address"));
            Ok(addresses.collect::<Vec<_>>().into_iter())
        }
    }

    /// The result of `test`, and its log output.
    fn logged<T>(test: impl FnOnce() -> T) -> (T, String) {
        let (mut reader, writer) = io::pipe().expect("two descriptors");
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(writer)).finish();
        let result = tracing::subscriber::with_default(subscriber, test);
        let mut log = String::new();
        io::Read::read_to_string(&mut reader, &mut log).expect("the log is text");
        (result, log)
    }

    #[test]
    fn an_address_that_does_not_work_is_skipped_and_logged() {
        let name = Name(&["240.0.0.1:0", "127.0.0.1:0"]);
        let (server, log) = logged(|| Server::bind(name).expect("one address works"));
        let tcp = server.listeners.iter().filter_map(|listener| listener.address().tcp());
        assert_eq!(tcp.map(|address| address.ip().to_string()).collect::<Vec<_>>(), ["127.0.0.1"]);
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("WARN") && log.contains("name.test") && log.contains("240.0.0.1:0"), "{log}");
        assert!(log.contains("this machine has no such address"), "{log}");
    }

    #[test]
    fn when_no_address_of_a_name_works_the_error_lists_all_of_them() {
        let name = Name(&["240.0.0.1:0", "240.0.0.2:0"]);
        let (result, log) = logged(|| Server::bind(name));
        let error = result.expect_err("none works");
        assert!(matches!(&error, StartError::NoAddress(name, errors) if name == "name.test" && errors.len() == 2));
        let text = error.to_string();
        for part in ["name.test", "240.0.0.1:0: this machine has", "240.0.0.2:0: this machine has"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(log, "", "the caller reports the error");
    }

    #[test]
    fn a_single_address_that_does_not_work_is_reported_alone() {
        let error = Server::bind("240.0.0.1:0").expect_err("not ours");
        assert!(matches!(error, StartError::Bind(BindError::NoSuchAddress(_))), "{error}");
    }

    #[test]
    fn a_name_without_addresses_is_an_error() {
        let error = Server::bind(Name(&[])).expect_err("no address");
        assert!(matches!(error, StartError::Address(..)), "{error}");
    }

    #[test]
    fn buffers_out_of_range_are_reported_by_the_option_not_as_unavailable_io_uring() {
        #[derive(Debug)]
        struct Ignore;
        impl Handler for Ignore {
            type State = ();

            fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
                Upgrade::accept(())
            }
            fn message(&mut self, _: &mut crate::Connection<'_, Self>, _: crate::Message<'_>) {}
        }
        let buffers = ringway_io::BufferConfig::new().count(16).and_then(|buffers| buffers.ready(17));
        let config = Config { buffers: buffers.expect("each number is in range"), ..Config::default() };
        let server = Server::bind("127.0.0.1:0").expect("a free port").config(config);
        let error = server.shards(Shards::Count(1)).start(|_| Ignore).expect_err("17 of 16");
        let text = "buffers.ready is 17: give 1 to the number of buffers (buffers.count)";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn every_shard_accepts_connections_of_an_inherited_socket() {
        #[derive(Debug)]
        struct Refuse;
        impl Handler for Refuse {
            type State = ();

            fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
                Upgrade::accept(())
            }
            fn message(&mut self, _: &mut crate::Connection<'_, Self>, _: crate::Message<'_>) {}
        }
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Server::from_listeners([socket]).expect("it listens").shards(Shards::Count(2));
        let running = server.config(Config { cores: Cores::Unpinned, ..Config::default() }).start(|_| Refuse);
        let running = running.expect("io_uring works here");
        let address = running.addresses()[0].tcp().expect("TCP");
        // So many that a shard whose thread waits for a core for a while has its share all the same.
        for _ in 0..512 {
            let mut peer = TcpStream::connect(address).expect("it listens");
            peer.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("it is open");
            // It is answered, so it has been accepted.
            assert!(peer.read(&mut [0; 1]).expect("it answers") > 0);
        }
        running.stop();
        let reports = running.wait().expect("the shards end without an error");
        let accepted: Vec<u64> = reports.iter().map(|report| report.stats.accepted).collect();
        assert_eq!(accepted.iter().sum::<u64>(), 512);
        assert!(accepted.iter().all(|accepted| *accepted >= 128), "{accepted:?}");
    }

    #[test]
    fn a_socket_that_is_inherited_and_does_not_listen_is_an_error() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let error = Server::from_listeners([socket]).expect_err("no TCP socket");
        assert!(matches!(error, StartError::Inherit(InheritError::NotAStream(_))), "{error}");
    }

    #[test]
    fn a_server_listens_on_the_addresses_of_all_calls() {
        let server = Server::bind("127.0.0.1:0").and_then(|server| server.and_bind("127.0.0.2:0"));
        assert_eq!(server.expect("both work").listeners.len(), 2);
    }
}
