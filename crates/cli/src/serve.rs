//! `ringway serve`.

use crate::arguments::{App, Serve};
use crate::exit::{Failure, Outcome};
use crate::limits;
use ringway::{
    BufferConfig, Config, Connection, Cores, Handler, Limits, Message, OriginPolicy, Running, Server,
};

/// Descriptors that a process needs besides its connections: standard streams, and a ring, a waker and a listener for
/// each of a few shards.
const SPARE_FILES: u64 = 64;

struct Echo;

impl Handler for Echo {
    type State = ();

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

struct Sink;

impl Handler for Sink {
    type State = ();

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

pub(crate) fn run(arguments: &Serve) -> Result<Outcome, Failure> {
    match arguments.app {
        App::Echo => serve(arguments, |_| Echo),
        App::Sink => serve(arguments, |_| Sink),
    }
}

fn serve<H: Handler>(
    arguments: &Serve,
    make: impl Fn(usize) -> H + Send + Sync + 'static,
) -> Result<Outcome, Failure> {
    let files = limits::raise_open_files();
    if let Some(files) = files.filter(|files| *files < SPARE_FILES) {
        return Err(Failure(format!(
            "the process may open {files} files, and needs at least {SPARE_FILES}; raise the limit (`ulimit -n`)"
        )));
    }
    let server = arguments.listen.iter().try_fold(None::<Server>, |server, address| {
        match server {
            None => Server::bind(address.as_str()),
            Some(server) => server.and_bind(address.as_str()),
        }
        .map(Some)
    })?;
    let Some(server) = server else { return Err(Failure("no address to listen on".into())) };
    let config = config(arguments)?;
    let limits = limits_of(arguments)?;
    let running = server.shards(arguments.shards).config(config).limits(limits).start(make)?;
    running.stop_on_signals()?;
    announce(&running, arguments, files);
    running.wait()?;
    Ok(Outcome::Good)
}

fn config(arguments: &Serve) -> Result<Config, Failure> {
    let number = |what: &str| Failure(format!("{what} is too large"));
    let buffers = BufferConfig {
        size: u32::try_from(arguments.buffer_size).map_err(|_| number("--buffer-size"))?,
        count: u16::try_from(arguments.buffers).map_err(|_| number("--buffers"))?,
        ready: BufferConfig::default().ready.min(u16::try_from(arguments.buffers).map_err(|_| number("--buffers"))?),
    };
    Ok(Config {
        cores: if arguments.cores.is_empty() { Cores::All } else { Cores::List(arguments.cores.clone()) },
        buffers,
        handshake_timeout: arguments.handshake_timeout,
        idle_timeout: Some(arguments.idle_timeout).filter(|timeout| !timeout.is_zero()),
        close_timeout: arguments.close_timeout,
        stop_timeout: arguments.stop_timeout,
        origins: if arguments.origin.is_empty() {
            OriginPolicy::Any
        } else {
            OriginPolicy::List(arguments.origin.clone())
        },
        subprotocols: arguments.subprotocol.clone(),
        ..Config::default()
    })
}

fn limits_of(arguments: &Serve) -> Result<Limits, Failure> {
    Ok(Limits {
        max_message: arguments.max_message,
        max_head: arguments.max_head,
        max_buffered: arguments.max_buffered,
        max_connections: u32::try_from(arguments.max_connections)
            .map_err(|_| Failure("--max-connections is too large".into()))?,
        ..Limits::default()
    })
}

/// Says where it listens, on which cores, and on what the kernel granted.
fn announce<H: Handler>(running: &Running<H>, arguments: &Serve, files: Option<u64>) {
    let cores: Vec<String> =
        running.cores().iter().map(|core| core.map_or("any".into(), |core| core.to_string())).collect();
    for address in running.addresses() {
        println!("listening on ws://{address}");
    }
    println!("shards       {}, on core{} {}", cores.len(), if cores.len() == 1 { "" } else { "s" }, cores.join(", "));
    println!("driver       {}", running.driver());
    println!("app          {}", if arguments.app == App::Echo { "echo" } else { "sink" });
    if let Some(files) = files {
        println!("connections  {} at most (open files: ulimit -n {files})", files.saturating_sub(SPARE_FILES));
    }
}
