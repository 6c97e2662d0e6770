//! A remote JavaScript console: what an operator types is evaluated in a page, and the result comes
//! back.
//!
//! ```sh
//! cargo run --release -p ringway --example console
//! ```
//!
//! It prints the address of the page, with a token that is new in each run. Open it in a browser,
//! and type at the prompt: `document.title`, or `await fetch("/").then(reply => reply.status)`. To
//! inspect a page of your own, give it the script, `console/console.js`. The argument is the port;
//! by default the system chooses one.
//!
//! Whoever can connect controls neither the page nor the prompt:
//!
//! - The server listens on the loopback interface only.
//! - A page of another origin gets 403, so that a website that is open in the same browser cannot
//!   answer for the page. This also excludes names that an attacker lets resolve to this machine.
//! - Without the token a client gets 401, so that another user of the machine cannot do so. It is in
//!   the fragment of the address, which browsers do not send, and then in a subprotocol.
//! - What the page sends cannot control the terminal: control characters are escaped.
//!
//! One page is attached at a time, and one line is evaluated at a time. Messages from operator to
//! page are `NUMBER CODE`; from page to operator `NUMBER = VALUE`, `NUMBER ! ERROR`, and `- TEXT` for
//! what the page logs.

use rand::RngExt;
use rand::rngs::StdRng;
use ringway::{
    CloseCode, CloseReason, Config, Connection, ConnectionId, Handler, HeaderMap, HeaderName, HeaderValue, Limits,
    Message, OriginPolicy, Request, Response, Server, Shard, ShardHandle, Shards, StatusCode, TimerId, Upgrade,
};
use std::borrow::Cow;
use std::error::Error;
use std::io::{BufRead, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;
use std::{env, io, thread};

const PAGE: &str = include_str!("console/page.html");
const SCRIPT: &str = include_str!("console/console.js");

/// The page evaluates text, and loads and connects to nothing but this server.
const POLICY: &str = "default-src 'none'; script-src 'self' 'unsafe-eval'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The subprotocol of the console, and the prefix of the one that has the token.
const SUBPROTOCOL: &str = "console";
const TOKEN: &str = "token.";

/// How long an answer is awaited.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum size of a message of the page. The script cuts longer values.
const MAX_MESSAGE: usize = 64 << 10;

/// The number of notices that wait for the terminal. Further ones are dropped and counted.
const NOTICES: usize = 256;

struct Console {
    token: String,
    page: Option<ConnectionId>,
    /// The number of the last line, and while its answer is awaited, the timer.
    line: u64,
    awaited: Option<TimerId>,
    /// One answer for each line.
    answers: SyncSender<String>,
    notices: SyncSender<String>,
    /// The number of notices that found no place.
    dropped: u64,
}

impl Handler for Console {
    /// The connection itself; `None` until it is open.
    type State = Option<ConnectionId>;

    /// The engine has checked the origin by now.
    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::State> {
        if request.path() != "/console" {
            return Upgrade::reject(StatusCode::NOT_FOUND, "the console is at /console");
        }
        let mut tokens = request.subprotocols().filter_map(|name| name.strip_prefix(TOKEN));
        match (tokens.next(), tokens.next()) {
            (Some(token), None) if is_same(token.as_bytes(), self.token.as_bytes()) => {
                Upgrade::accept(None).subprotocol(SUBPROTOCOL)
            }
            _ => Upgrade::reject(StatusCode::UNAUTHORIZED, "open the address that the console has printed"),
        }
    }

    fn request(&mut self, request: &Request<'_>) -> Response {
        let (kind, body) = match (request.method(), request.path()) {
            ("GET" | "HEAD", "/") => ("text/html; charset=utf-8", PAGE),
            ("GET" | "HEAD", "/console.js") => ("text/javascript; charset=utf-8", SCRIPT),
            ("GET" | "HEAD", _) => return Response::text(StatusCode::NOT_FOUND, "there are / and /console.js"),
            _ => return Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here"),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", kind),
            ("content-security-policy", POLICY),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Response::new(StatusCode::OK, headers, body.into())
    }

    /// A new page replaces the one that was attached: it may be the same, loaded again.
    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        *conn.state() = Some(conn.id());
        if let Some(old) = self.page.replace(conn.id()) {
            self.give_up("! the page was replaced by another");
            if let Some(mut old) = conn.shard().connection(old) {
                old.close(CloseCode::from(4000), "replaced by another page").expect("4000 may be sent");
            }
        }
        self.notify("a page is attached".into());
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let Some(text) = message.as_text().filter(|_| self.page == Some(conn.id())) else { return };
        if let Some(logged) = text.strip_prefix("- ") {
            return self.notify(logged.to_owned());
        }
        let Some((number, answer)) = text.split_once(' ') else { return };
        if number.parse() != Ok(self.line) {
            return self.notify(format!("a late answer: {answer}"));
        }
        if let Some(timer) = self.awaited.take() {
            conn.cancel_timer(timer);
            self.answer(answer);
        }
    }

    fn timer(&mut self, _: &mut Connection<'_, Self>, timer: TimerId) {
        if self.awaited == Some(timer) {
            self.give_up("! no answer yet");
        }
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, id: Self::State, reason: &CloseReason) {
        if self.page == id {
            self.page = None;
            self.notify(format!("the page is gone: {reason}"));
            self.give_up("! the page is gone");
        }
    }
}

impl Console {
    /// Sends a line to the page.
    fn evaluate(&mut self, shard: &mut Shard<'_, Self>, code: &str) {
        let Some(mut conn) = self.page.and_then(|page| shard.connection(page)) else {
            return self.answer("! no page is attached");
        };
        self.line += 1;
        if conn.send(Message::text(&format!("{} {code}", self.line))).is_accepted() {
            self.awaited = Some(conn.set_timer(ANSWER_TIMEOUT));
        } else {
            self.answer("! the page does not read");
        }
    }

    /// Ends the wait for an answer.
    fn give_up(&mut self, reason: &str) {
        if self.awaited.take().is_some() {
            self.answer(reason);
        }
    }

    fn answer(&self, text: &str) {
        // There is room: the prompt takes an answer before it posts the next line. An error means
        // that the prompt has ended.
        let _ = self.answers.try_send(text.to_owned());
    }

    fn notify(&mut self, text: String) {
        let text = if self.dropped == 0 { text } else { format!("{text} ({} notices were dropped)", self.dropped) };
        match self.notices.try_send(text) {
            Ok(()) => self.dropped = 0,
            Err(_) => self.dropped += 1,
        }
    }
}

/// Compares all bytes, so that the time does not show how many of them are right.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Text with its control characters escaped, except for line breaks and tabs.
fn printable(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::new();
    for c in text.chars() {
        if is_control(c) { printable.extend(c.escape_default()) } else { printable.push(c) }
    }
    Cow::Owned(printable)
}

/// Reads lines, and prints the answer to each. Ends the server when the input ends.
fn prompt(shard: &ShardHandle<Console>, answers: &Receiver<String>) -> io::Result<()> {
    let (input, mut output) = (io::stdin(), io::stdout());
    let is_interactive = input.is_terminal();
    let mut line = String::new();
    loop {
        if is_interactive {
            write!(output, "> ")?;
            output.flush()?;
        }
        line.clear();
        if input.lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        let code = line.trim().to_owned();
        if code.is_empty() {
            continue;
        }
        let posted = shard.post(move |console, shard| console.evaluate(shard, &code));
        // Fails when the server has ended.
        let (Ok(()), Ok(answer)) = (posted, answers.recv()) else { return Ok(()) };
        writeln!(output, "{}", printable(&answer))?;
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("console: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let port = arguments.next().unwrap_or_else(|| "0".into());
    let port: u16 = port.parse().map_err(|_| format!("'{port}' is not a port: give a number up to 65535"))?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .map_err(|error| format!("cannot listen on port {port} of 127.0.0.1: {error}"))?;
    let port = listener.local_addr()?.port();
    let origins = vec![format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")];
    let mut random: StdRng = rand::make_rng();
    let token = format!("{:032x}", random.random::<u128>());
    let (answers, received_answers) = mpsc::sync_channel(1);
    let (notices, received_notices) = mpsc::sync_channel::<String>(NOTICES);
    let address = format!("http://127.0.0.1:{port}/#{token}");
    let running = Server::from_listeners([listener])?
        .shards(Shards::Count(1))
        .config(Config::default().origins(OriginPolicy::List(origins))?)
        .limits(Limits::default().max_message(MAX_MESSAGE)?.max_connections(16)?)
        .start(move |_shard| Console {
            token: token.clone(),
            page: None,
            line: 0,
            awaited: None,
            answers: answers.clone(),
            notices: notices.clone(),
            dropped: 0,
        })?;
    running.stop_on_signals()?;
    println!("open {address}");
    thread::spawn(move || {
        for notice in received_notices {
            eprintln!("* {}", printable(&notice));
        }
    });
    let shard = running.handles()[0].clone();
    thread::spawn(move || {
        if let Err(error) = prompt(&shard, &received_answers) {
            eprintln!("console: {error}");
        }
        shard.stop();
    });
    running.wait()?;
    Ok(())
}
