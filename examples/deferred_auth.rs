//! A server that checks who a client is before it accepts, without keeping its shards waiting.
//!
//! ```sh
//! echo 'correct-horse ada' > tokens
//! cargo run --release -p ringway --example deferred_auth -- 127.0.0.1:9001 tokens
//! ```
//!
//! A client sends `Authorization: Bearer correct-horse`. Each line of the file has a token and the
//! its user; the file is read at each check, so that it can change while the server runs.
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

/// One token to check.
struct Job {
    token: Vec<u8>,
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
        let Some(token) = bearer_token(request) else {
            return unauthorized("send one header Authorization: Bearer TOKEN");
        };
        let Some(shard) = self.shard.clone() else {
            return Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "the server is starting: try again");
        };
        let job = Job { token, id: request.id(), shard, deadline: Instant::now() + HANDSHAKE_TIMEOUT };
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

/// The token of a request that has exactly one, of a length that a token can have.
fn bearer_token(request: &Request<'_>) -> Option<Vec<u8>> {
    let mut values = request.header_values("authorization");
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    // The scheme's case does not matter (RFC 9110 section 11.1).
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    let token = token.trim_ascii();
    let is_token = scheme.eq_ignore_ascii_case(b"bearer ") && (1..=MAX_TOKEN).contains(&token.len());
    is_token.then(|| token.to_vec())
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
            eprintln!("deferred_auth: cannot read {}: {error}", tokens.display());
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
        let (id, result) = (job.id, result.clone());
        let posted = job.shard.post(move |_members, shard| {
            let upgrade = match result {
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
            eprintln!("deferred_auth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(tokens), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(
            "give two arguments: the address to listen on, such as 127.0.0.1:9001, and the file of tokens".into()
        );
    };
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
        .start(move |_shard| Members { jobs: jobs.clone(), shard: None })?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    running.stop_on_signals()?;
    running.wait()?;
    Ok(())
}
