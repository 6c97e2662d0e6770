//! A chat with rooms: each line of a member is sent to all members of its room, on all shards.
//!
//! ```sh
//! cargo run --release -p ringway --example chat -- 127.0.0.1:9001 [ORIGIN…]
//! ```
//!
//! `http://127.0.0.1:9001/` is a page to chat with. The other arguments are the origins of other pages
//! that may connect. A page of `http://localhost:8080` joins with
//! `new WebSocket("ws://127.0.0.1:9001/?name=ada&room=garden")`, and the example `client` with
//! `client 'ws://127.0.0.1:9001/?name=ada&room=garden' http://localhost:8080`.
//!
//! Each room is a topic. Everything that can grow has a limit, and what is lost at a limit is reported
//! to those who miss it:
//!
//! - A member that reads too slowly, or whose shard does not keep up, misses lines and is told how
//!   many: the policy of the topics is `DropNewest`.
//! - A member that says too much is not read for a while.

use ringway::{
    CloseCode, CloseReason, Config, Connection, Handler, HeaderMap, HeaderName, HeaderValue, Limits, Message,
    MessageKind, OriginPolicy, Prepared, Request, Response, Server, Shard, Shards, StatusCode, TimerId, TopicPolicy,
    Upgrade,
};
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

/// Two shards, even on one core: without this option there is one for each core.
const SHARDS: Shards = Shards::Count(2);

/// The longest line in bytes. The engine answers a longer message with close code 1009.
const MAX_LINE: usize = 4096;

/// The longest name of a member or a room in characters.
const MAX_NAME: usize = 24;

/// The maximum number of rooms.
const MAX_ROOMS: usize = 10_000;

/// The number of lines that a member may say in each [`PERIOD`].
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(1);

const PAGE: &str = include_str!("chat/page.html");
const SCRIPT: &str = include_str!("chat/chat.js");

/// The page loads its own script, and connects to this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The members of all rooms on one shard.
struct Chat;

/// What is kept for each connection.
struct Member {
    name: String,
    room: String,
    /// The number of lines that this member has missed since it was last told.
    missed: u64,
    /// The number of lines that it may still say in this period.
    allowance: u32,
}

/// Sends a line to all members of a room. Returns whether it was sent.
fn say(shard: &mut Shard<'_, Chat>, room: &str, line: &str) -> bool {
    // Encoded once; all connections of all shards send the same bytes.
    shard.publish(room, &Prepared::text(line)).is_ok()
}

/// Sends a notice to one member. Dropped if its outbox is full.
fn tell(conn: &mut Connection<'_, Chat>, notice: &str) {
    let _ = conn.send(Message::text(notice));
}

/// Reports missed lines to a member whose outbox has room for the report.
fn report_missed(conn: &mut Connection<'_, Chat>) {
    let missed = conn.state().missed;
    if missed > 0 && conn.send(Message::text(&format!("* you have missed {missed} messages"))).is_accepted() {
        conn.state().missed = 0;
    }
}

impl Handler for Chat {
    type State = Member;

    /// The page.
    fn request(&mut self, request: &Request<'_>) -> Response {
        let (kind, body) = match (request.method(), request.path()) {
            ("GET" | "HEAD", "/") => ("text/html; charset=utf-8", PAGE),
            ("GET" | "HEAD", "/chat.js") => ("text/javascript; charset=utf-8", SCRIPT),
            ("GET" | "HEAD", _) => return Response::text(StatusCode::NOT_FOUND, "there are / and /chat.js"),
            _ => return Response::method_not_allowed("GET, HEAD"),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("content-type", kind), ("content-security-policy", POLICY), ("x-content-type-options", "nosniff")]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Response::new(StatusCode::OK, headers, body.into())
    }

    /// The engine has checked the origin by now. Name and room come from the query.
    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Member> {
        let value = |key| request.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
        let room = value("room").unwrap_or_else(|| "lobby".to_owned());
        match value("name") {
            // No name can be mistaken for a notice, or contain control characters.
            Some(name) if is_name(&name) && is_name(&room) => {
                Upgrade::accept(Member { name, room, missed: 0, allowance: LINES })
            }
            _ => Upgrade::reject(
                StatusCode::BAD_REQUEST,
                "give a name of 1 to 24 letters and digits, and a room if you like: /?name=ada&room=garden",
            ),
        }
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let index = conn.shard().index();
        let (name, room) = (conn.state().name.clone(), conn.state().room.clone());
        tell(conn, &format!("* welcome to shard {index}"));
        let entered = conn.shard().set_topic(&room, TopicPolicy::DropNewest).and_then(|()| conn.subscribe(&room));
        if let Err(limit) = entered {
            tell(conn, &format!("* you cannot enter the room: {limit}"));
            conn.close(CloseCode::TRY_AGAIN, "the room cannot be entered").expect("1013 may be sent");
            return;
        }
        say(&mut conn.shard(), &room, &format!("* {name} has joined"));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        if message.kind() == MessageKind::Binary {
            conn.close(CloseCode::UNSUPPORTED, "text only").expect("1003 may be sent");
            return;
        }
        let text = message.as_text().unwrap_or_default();
        if conn.state().allowance == LINES {
            conn.set_timer(PERIOD);
        }
        conn.state().allowance -= 1;
        if conn.state().allowance == 0 {
            // No more messages until the timer fires; the kernel's flow control stops the peer.
            conn.pause();
        }
        if text.chars().any(char::is_control) {
            // A line break would allow a member to speak in the name of another one.
            tell(conn, "* not sent: it contains control characters");
            return;
        }
        let line = format!("{}: {text}", conn.state().name);
        let room = conn.state().room.clone();
        if !say(&mut conn.shard(), &room, &line) {
            tell(conn, "* not sent: the server is overloaded");
        }
    }

    /// A new period begins for a member that has spoken.
    fn timer(&mut self, conn: &mut Connection<'_, Self>, _: TimerId) {
        conn.state().allowance = LINES;
        conn.resume();
    }

    /// A member has missed lines. If there is no room for the report, `drained` follows.
    fn lagged(&mut self, conn: &mut Connection<'_, Self>, _: &str, missed: u64) {
        conn.state().missed += missed;
        report_missed(conn);
    }

    /// The outbox of this member has room again.
    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        report_missed(conn);
    }

    /// A room that nobody is in any more needs no policy.
    fn topic_changed(&mut self, shard: &mut Shard<'_, Self>, room: &str, members: usize) {
        if members == 0
            && let Err(limit) = shard.set_topic(room, TopicPolicy::Close)
        {
            eprintln!("chat: {limit}");
        }
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, member: Member, _: &CloseReason) {
        say(shard, &member.room, &format!("* {} has left", member.name));
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && name.chars().all(char::is_alphanumeric)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("give the address to listen on, such as 127.0.0.1:9001")?;
    // The page of this server has the origin of its address.
    let origins = [format!("http://{address}")].into_iter().chain(arguments).collect();
    let limits = Limits::default().max_message(MAX_LINE)?.max_topics(MAX_ROOMS)?;
    let running = Server::bind(address)?
        .shards(SHARDS)
        .config(Config::default().origins(OriginPolicy::List(origins))?)
        .limits(limits)
        .start(|_shard| Chat)?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    running.wait()?;
    Ok(())
}
