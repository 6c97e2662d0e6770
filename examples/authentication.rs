//! A server that checks who a client is before it accepts, without keeping its shards waiting.
//!
//! ```sh
//! echo 'correct-horse ada' > tokens
//! cargo run --release -p ringway --example authentication -- 127.0.0.1:9001 tokens https://example.org
//! ```
//!
//! Each line of the file has a token and its user; the file is read at each check, so that it can
//! change while the server runs. The other arguments are the origins whose pages may use a cookie.
//! A client sends its token in one of three ways:
//!
//! - `Authorization: Bearer correct-horse`. Browsers cannot send it with a WebSocket.
//! - `new WebSocket(url, ["chat", "bearer.correct-horse"])`: a subprotocol of that name. The server
//!   answers with `chat`, and never with the token.
//! - `Cookie: session=correct-horse`. A browser sends cookies whatever the page, so that a page of
//!   another site could use the session of a user (RFC 6455 section 10.2): the origin must be one
//!   of the arguments.
//!
//! Reading a file, asking a database or hashing a password takes too long for a handler: while it
//! runs, nothing else happens on its shard. So the handler defers its answer, a pool of threads
//! does the work, and the answer is posted to the shard:
//!
//! ```text
//! shard:   upgrade() -> job -> bounded queue -> Upgrade::defer()
//! worker:  check the token -> ShardHandle::post -> Shard::answer -> 101 or 401
//! ```
//!
//! Under more load than the workers can take, the queue is full and clients get 503 at once. A
//! request that is not answered within [`HANDSHAKE_TIMEOUT`] gets 408 from the engine, and a worker
//! drops its job unread.

use ringway::{
    Config, Connection, ConnectionId, Handler, HeaderName, HeaderValue, Limits, Message, PostError, Request, Server,
    Shard, ShardHandle, StatusCode, Upgrade,
};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// The longest time from the TCP connection to the answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The number of requests that may wait for a worker.
const QUEUE: usize = 1024;

/// The number of threads that check tokens.
const WORKERS: usize = 2;

/// How long a worker waits before it posts to a full mailbox again.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// The longest token in bytes.
const MAX_TOKEN: usize = 256;

/// The subprotocol of the application.
const SUBPROTOCOL: &str = "chat";

/// The beginning of a subprotocol that contains a token.
const BEARER: &str = "bearer.";

/// The name of the cookie that contains a token.
const COOKIE: &str = "session";

/// One token to check.
struct Job {
    token: Vec<u8>,
    /// Whether the client offers [`SUBPROTOCOL`].
    subprotocol: bool,
    /// The connection to answer, and the shard that it is on.
    id: ConnectionId,
    shard: ShardHandle<Members>,
    deadline: Instant,
}

/// The outcome of a check.
#[derive(Clone)]
enum CheckResult {
    User(String),
    Unknown,
    /// The file cannot be read.
    Unavailable,
}

struct Members {
    jobs: SyncSender<Job>,
    /// The origins whose pages may use a cookie.
    origins: Arc<[String]>,
    /// The shard that this handler runs on; set when it starts.
    shard: Option<ShardHandle<Self>>,
}

impl Handler for Members {
    /// The name of the user.
    type State = String;

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        self.shard = Some(shard.handle());
    }

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        let token = match self.token(request) {
            Ok(token) => token,
            Err(TokenError::Missing) => {
                return unauthorized("send one token: Authorization: Bearer, a subprotocol or a cookie");
            }
            Err(TokenError::Origin) => {
                return Upgrade::reject(StatusCode::FORBIDDEN, "pages of this origin may not use the cookie");
            }
        };
        let subprotocol = request.subprotocols().any(|name| name == SUBPROTOCOL);
        let Some(shard) = self.shard.clone() else {
            return Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "the server is starting: try again");
        };
        let job = Job { token, subprotocol, id: request.id(), shard, deadline: Instant::now() + HANDSHAKE_TIMEOUT };
        // Never waits: a handler that did would stop its shard.
        match self.jobs.try_send(job) {
            Ok(()) => Upgrade::defer(),
            Err(TrySendError::Full(_)) => {
                Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "too many clients are logging in: try again")
                    .header(HeaderName::from_static("retry-after"), HeaderValue::from_static("1"))
            }
            Err(TrySendError::Disconnected(_)) => {
                Upgrade::reject(StatusCode::INTERNAL_SERVER_ERROR, "tokens cannot be checked")
            }
        }
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let greeting = format!("welcome, {}", conn.state());
        // Nothing waits on a new connection, so the message is taken.
        let _ = conn.send(Message::text(&greeting));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

/// Why the token of a request is not checked.
enum TokenError {
    /// There is none, or more than one.
    Missing,
    /// A page of another origin uses the cookie.
    Origin,
}

impl Members {
    /// The token of a request that has exactly one.
    fn token(&self, request: &Request<'_>) -> Result<Vec<u8>, TokenError> {
        let authorization = request.header_values("authorization").map(bearer_token);
        let offered = request.subprotocols().filter_map(|name| name.strip_prefix(BEARER));
        let offered = offered.map(|token| Some(token.as_bytes()));
        let cookies = request.cookies().filter(|(name, _)| *name == COOKIE).map(|(_, value)| Some(value.as_bytes()));
        let has_cookie = request.cookie(COOKIE).is_some();
        let mut tokens = authorization.chain(offered).chain(cookies);
        let token = match (tokens.next(), tokens.next()) {
            (Some(Some(token)), None) if (1..=MAX_TOKEN).contains(&token.len()) => token.to_vec(),
            _ => return Err(TokenError::Missing),
        };
        let is_listed = request.origin().is_some_and(|origin| self.origins.iter().any(|listed| listed == origin));
        if has_cookie && !is_listed {
            return Err(TokenError::Origin);
        }
        Ok(token)
    }
}

/// The token in a value of the header `Authorization`.
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    // The scheme's case does not matter (RFC 9110 section 11.1).
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// 401 names the scheme that would be accepted (RFC 9110 section 15.5.2).
fn unauthorized(reason: &str) -> Upgrade<String> {
    Upgrade::reject(StatusCode::UNAUTHORIZED, reason)
        .header(HeaderName::from_static("www-authenticate"), HeaderValue::from_static("Bearer"))
}

/// Processes jobs until all shards have ended.
fn work(jobs: &Mutex<Receiver<Job>>, tokens: &Path) {
    loop {
        // The lock is held while waiting for a job, and released before the job is done.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if Instant::now() >= job.deadline {
            continue;
        }
        let result = check(&job.token, tokens).unwrap_or_else(|error| {
            eprintln!("authentication: cannot read {}: {error}", tokens.display());
            CheckResult::Unavailable
        });
        answer(&job, &result);
    }
}

/// Looks for the token in the file.
fn check(token: &[u8], tokens: &Path) -> io::Result<CheckResult> {
    let mut result = CheckResult::Unknown;
    // All lines are compared: the time must not depend on the secret.
    for line in fs::read_to_string(tokens)?.lines() {
        if let Some((secret, user)) = line.split_once(' ')
            && is_same(secret.as_bytes(), token)
        {
            result = CheckResult::User(user.trim().to_owned());
        }
    }
    Ok(result)
}

/// Compares all bytes, so that the time does not show how many of them are right.
fn is_same(secret: &[u8], token: &[u8]) -> bool {
    let difference = secret.iter().zip(token).fold(0, |difference, (a, b)| difference | (a ^ b));
    secret.len() == token.len() && difference == 0
}

/// Posts the answer to the connection's shard. When its mailbox is full the worker waits, so the
/// job queue fills.
fn answer(job: &Job, result: &CheckResult) {
    while Instant::now() < job.deadline {
        let (id, subprotocol, result) = (job.id, job.subprotocol, result.clone());
        let posted = job.shard.post(move |_members, shard| {
            let upgrade = match result {
                CheckResult::User(user) if subprotocol => Upgrade::accept(user).subprotocol(SUBPROTOCOL),
                CheckResult::User(user) => Upgrade::accept(user),
                CheckResult::Unknown => unauthorized("the token is not valid"),
                CheckResult::Unavailable => {
                    Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "tokens cannot be checked now: try again")
                }
            };
            // Without effect when the client has gone, or the request was answered with 408.
            shard.answer(id, upgrade);
        });
        match posted {
            Err(PostError::Full) => thread::sleep(RETRY_AFTER),
            _ => return,
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("authentication: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(tokens)) = (arguments.next(), arguments.next()) else {
        return Err("give the address to listen on, such as 127.0.0.1:9001, the file of tokens, and the origins \
                    whose pages may use a cookie, such as https://example.org"
            .into());
    };
    let origins: Arc<[String]> = arguments.collect();
    let tokens = PathBuf::from(tokens);
    fs::read_to_string(&tokens).map_err(|error| format!("cannot read the tokens in {}: {error}", tokens.display()))?;
    let (jobs, queue) = mpsc::sync_channel(QUEUE);
    let queue = Arc::new(Mutex::new(queue));
    for number in 0..WORKERS {
        let (queue, tokens) = (Arc::clone(&queue), tokens.clone());
        thread::Builder::new().name(format!("check-{number}")).spawn(move || work(&queue, &tokens))?;
    }
    let running = Server::bind(address)?
        .config(Config::default().handshake_timeout(HANDSHAKE_TIMEOUT)?)
        // There is no need for large messages before a client is known, nor for large heads.
        .limits(Limits::default().max_message(64 << 10)?.max_head(4 << 10)?)
        .start(move |_shard| Members { jobs: jobs.clone(), origins: Arc::clone(&origins), shard: None })?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    running.wait()?;
    Ok(())
}
