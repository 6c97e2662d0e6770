//! A chat room: each line of a member is sent to all members on all shards.
//!
//! ```sh
//! cargo run --release -p ringway --example chat -- 127.0.0.1:9001 http://localhost:8080
//! ```
//!
//! The first argument is the address to listen on, the others are the origins whose pages may
//! connect. A page of `http://localhost:8080` joins with
//! `new WebSocket("ws://127.0.0.1:9001/?name=ada")`, and the example `client` with
//! `client 'ws://127.0.0.1:9001/?name=ada' http://localhost:8080`.
//!
//! Nothing is shared between the shards. Each has a handler of its own, which sends a line to the
//! members on its shard and posts it to the other shards. Everything that can grow has a limit, and
//! what is lost at a limit is counted and reported to those who miss it:
//!
//! - A member that reads too slowly misses lines.
//! - A shard that does not keep up with its mailbox misses lines for its members.
//! - A member that says too much is not read for a while.

use ringway::{
    CloseCode, CloseReason, Config, Connection, Handler, Limits, Message, MessageKind, OriginPolicy, PostError,
    Prepared, Request, SendOutcome, Server, Shard, ShardHandle, Shards, StatusCode, TimerId, Upgrade,
};
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

/// Two shards, even on one core: without this option there is one for each core.
const SHARDS: Shards = Shards::Count(2);

/// The longest line in bytes. The engine answers a longer message with close code 1009.
const MAX_LINE: usize = 4096;

/// The longest name in characters.
const MAX_NAME: usize = 24;

/// The number of lines that a member may say in each [`PERIOD`].
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(1);

/// After this time, lines that were lost on their way to another shard are reported to it.
const REPORT_AFTER: Duration = Duration::from_millis(100);

/// The state of the room on one shard.
#[derive(Default)]
struct ChatRoom {
    /// The other shards; `None` until `main` has introduced them.
    others: Option<Vec<OtherShard>>,
}

struct OtherShard {
    handle: ShardHandle<ChatRoom>,
    /// The number of lines that found its mailbox full, since the last one that did not.
    missed: u64,
}

/// What is kept for each connection.
#[derive(Default)]
struct Member {
    name: String,
    /// The number of lines that this member has missed since it was last told.
    missed: u64,
    /// The number of lines that it may still say in this period.
    allowance: u32,
}

impl ChatRoom {
    /// Sends a line to everybody in the room.
    fn say(&mut self, shard: &mut Shard<'_, Self>, line: &str) {
        // Encoded once; all connections of all shards send the same bytes.
        let line = Prepared::text(line);
        let mut is_lost = false;
        for other in self.others.iter_mut().flatten() {
            other.pass_on(Some(line.clone()));
            is_lost |= other.missed > 0;
        }
        if is_lost {
            shard.wake_at(shard.turn_time() + REPORT_AFTER);
        }
        deliver(shard, Some(&line), 0);
    }
}

impl OtherShard {
    /// Posts a line to this shard, with the number of those that were lost before it.
    fn pass_on(&mut self, line: Option<Prepared>) {
        let (missed, lines) = (self.missed, u64::from(line.is_some()));
        match self.handle.post(move |_room, shard| deliver(shard, line.as_ref(), missed)) {
            Ok(()) => self.missed = 0,
            // It ends only together with all the others.
            Err(PostError::Ended) => self.missed = 0,
            Err(_) => self.missed += lines,
        }
    }
}

/// Sends a line to the members on this shard, after `missed` others were lost on their way to it.
fn deliver(shard: &mut Shard<'_, ChatRoom>, line: Option<&Prepared>, missed: u64) {
    shard.for_each_connection(|conn| {
        conn.state().missed += missed;
        if conn.buffered_amount() == 0 {
            report_missed(conn);
        }
        let Some(line) = line else { return };
        // A member that missed a line is notified before the next line.
        if conn.state().missed > 0 || matches!(conn.send_prepared(line), SendOutcome::Full(_)) {
            conn.state().missed += 1;
        }
    });
}

/// Reports missed lines to a member whose outbox has room for the report.
fn report_missed(conn: &mut Connection<'_, ChatRoom>) {
    let missed = conn.state().missed;
    if missed > 0 && conn.send(Message::text(&format!("* you have missed {missed} messages"))).is_accepted() {
        conn.state().missed = 0;
    }
}

/// Sends a notice to one member. Dropped if its outbox is full.
fn tell(conn: &mut Connection<'_, ChatRoom>, notice: &str) {
    let _ = conn.send(Message::text(notice));
}

impl Handler for ChatRoom {
    type State = Member;

    /// The engine has checked the origin by now. The name comes from the query: `/?name=ada`.
    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Member> {
        if self.others.is_none() {
            return Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "the room is not open yet: try again");
        }
        let name = request.query_pairs().find(|(key, _)| key == "name").map(|(_, name)| name.into_owned());
        match name {
            // No name can be mistaken for a notice, or contain control characters.
            Some(name) if is_name(&name) => Upgrade::accept(Member { name, missed: 0, allowance: LINES }),
            _ => Upgrade::reject(StatusCode::BAD_REQUEST, "give a name of 1 to 24 letters and digits: /?name=ada"),
        }
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let index = conn.shard().index();
        tell(conn, &format!("* welcome to shard {index}"));
        let line = format!("* {} has joined", conn.state().name);
        self.say(&mut conn.shard(), &line);
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
        self.say(&mut conn.shard(), &line);
    }

    /// A new period begins for a member that has spoken.
    fn timer(&mut self, conn: &mut Connection<'_, Self>, _: TimerId) {
        conn.state().allowance = LINES;
        conn.resume();
    }

    /// The outbox of this member has room again.
    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        report_missed(conn);
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, member: Member, _: &CloseReason) {
        self.say(shard, &format!("* {} has left", member.name));
    }

    /// Reports the lost lines to shards whose mailbox was full.
    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        let mut is_lost = false;
        for other in self.others.iter_mut().flatten().filter(|other| other.missed > 0) {
            other.pass_on(None);
            is_lost |= other.missed > 0;
        }
        if is_lost {
            shard.wake_at(shard.turn_time() + REPORT_AFTER);
        }
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
    let origins: Vec<String> = arguments.collect();
    if origins.is_empty() {
        return Err("give the origins whose pages may connect, such as http://localhost:8080".into());
    }
    let running = Server::bind(address)?
        .shards(SHARDS)
        .config(Config::default().origins(OriginPolicy::List(origins))?)
        .limits(Limits::default().max_message(MAX_LINE)?)
        .start(|_shard| ChatRoom::default())?;
    // The handlers exist only now: each of them is given the handles of the others.
    for (index, handle) in running.handles().iter().enumerate() {
        let others = running.handles().iter().enumerate().filter(|(other, _)| *other != index);
        let others = others.map(|(_, handle)| OtherShard { handle: handle.clone(), missed: 0 }).collect();
        handle.post(move |room, _| room.others = Some(others))?;
    }
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    running.stop_on_signals()?;
    running.wait()?;
    Ok(())
}
