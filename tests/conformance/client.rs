//! `autobahn-client URL [--driver auto|uring|epoll|tokio-uring] [--deflate] [--cacert FILE]`: runs all cases of
//! `wstest -m fuzzingserver` against the engine's client role. The URL is `ws://HOST:PORT`, or
//! `wss://HOST:PORT` with the CA of the server.

use ringway::{
    Client, ClientTls, CloseReason, Config, ConnectError, Connection, Deflate, DriverChoice, Endpoint, Handler, Limits,
    Message, Request, Running, Shard, Shards, Upgrade,
};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};

/// The name of this agent in the suite's results.
const AGENT: &str = "ringway";

/// The handling of received messages.
#[derive(Clone, Copy, Debug, Default)]
enum Task {
    /// Echoes each message.
    #[default]
    Echo,
    /// Passes each message to the program.
    Tell,
}

/// An event of a connection, for the program, which opens one connection after the other.
#[derive(Debug)]
enum Happened {
    Said(String),
    Closed,
    Failed(String),
}

struct Tester {
    events: mpsc::Sender<Happened>,
}

impl Tester {
    fn tell(&self, event: Happened) {
        // Sending fails only if the program has stopped receiving, and then the event does not
        // matter.
        let _ = self.events.send(event);
    }
}

impl Handler for Tester {
    type State = Task;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Task> {
        Upgrade::accept(Task::default())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match *conn.state() {
            Task::Echo => conn.reply(message),
            Task::Tell => self.tell(Happened::Said(String::from_utf8_lossy(message.payload()).into_owned())),
        }
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, _: Task, _: &CloseReason) {
        self.tell(Happened::Closed);
    }

    fn failed(&mut self, _: &mut Shard<'_, Self>, _: Task, error: &ConnectError) {
        self.tell(Happened::Failed(error.to_string()));
    }
}

/// A client of the suite's server, with one connection at a time.
struct Suite<'a> {
    url: &'a str,
    tls: Option<ClientTls>,
    running: Running<Tester>,
    events: mpsc::Receiver<Happened>,
}

impl Suite<'_> {
    /// Opens `path`, waits until the connection is closed, and returns the last message received.
    fn visit(&self, path: &str, task: Task) -> Result<Option<String>, String> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let mut endpoint = Endpoint::resolve(&url).map_err(|error| format!("{url}: {error}"))?;
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls(tls).map_err(|error| format!("{url}: {error}"))?;
        }
        let endpoint = Arc::new(endpoint);
        self.running.handles()[0]
            .post(move |_, shard| shard.connect(&endpoint, task))
            .map_err(|error| error.to_string())?;
        let mut said = None;
        for event in &self.events {
            match event {
                Happened::Said(text) => said = Some(text),
                Happened::Closed => return Ok(said),
                Happened::Failed(error) => return Err(format!("{url}: {error}")),
            }
        }
        Err("the shard has ended".into())
    }

    fn run(&self) -> Result<u32, String> {
        let count = self.visit("/getCaseCount", Task::Tell)?.unwrap_or_default();
        let count: u32 = count.trim().parse().map_err(|_| format!("expected the number of cases, got {count:?}"))?;
        for case in 1..=count {
            self.visit(&format!("/runCase?case={case}&agent={AGENT}"), Task::Echo)?;
        }
        self.visit(&format!("/updateReports?agent={AGENT}"), Task::Echo)?;
        Ok(count)
    }
}

fn run(Options { url, config, cacert }: Options<'_>) -> Result<u32, String> {
    let (sender, events) = mpsc::channel();
    let make = move |_| Tester { events: sender.clone() };
    // The largest message of the suite has 16 MiB.
    let limits = Limits::default().max_message(64 << 20).and_then(|limits| limits.max_connections(16));
    let limits = limits.map_err(|error| error.to_string())?;
    let client = Client::new().shards(Shards::Count(1)).limits(limits).config(config);
    let running = client.start(make).map_err(|error| error.to_string())?;
    let tls = cacert.map(|file| ClientTls::with_ca_files([file])).transpose().map_err(|error| error.to_string())?;
    let suite = Suite { url, tls, running, events };
    let result = suite.run();
    suite.running.stop();
    suite.running.wait().map_err(|error| error.to_string())?;
    result
}

struct Options<'a> {
    url: &'a str,
    config: Config,
    cacert: Option<&'a str>,
}

fn parse<'a>(arguments: &[&'a str]) -> Option<Options<'a>> {
    let (url, mut flags) = arguments.split_first().filter(|(url, _)| !url.starts_with('-'))?;
    let mut options = Options { url, config: Config::default(), cacert: None };
    loop {
        let config = options.config;
        (options.config, flags) = match flags {
            [] => return Some(Options { config, ..options }),
            ["--deflate", rest @ ..] => (config.deflate(Some(Deflate::takeover())), rest),
            ["--driver", "auto", rest @ ..] => (config.driver(DriverChoice::Auto), rest),
            ["--driver", "uring", rest @ ..] => (config.driver(DriverChoice::Uring), rest),
            ["--driver", "epoll", rest @ ..] => (config.driver(DriverChoice::Epoll), rest),
            ["--driver", "tokio-uring", rest @ ..] => (config.driver(DriverChoice::TokioUring), rest),
            ["--cacert", file, rest @ ..] => {
                options.cacert = Some(file);
                (config, rest)
            }
            _ => return None,
        };
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(options) = parse(&arguments) else {
        eprintln!("usage: autobahn-client URL [--driver auto|uring|epoll|tokio-uring] [--deflate] [--cacert FILE]");
        return ExitCode::from(2);
    };
    match run(options) {
        Ok(count) => {
            println!("{count} cases run");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("autobahn-client: {error}");
            ExitCode::FAILURE
        }
    }
}
