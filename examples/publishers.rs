//! Publishing from threads: lines of the standard input, and the time, to all who have subscribed.
//!
//! ```sh
//! cargo run --release -p ringway --example publishers -- 127.0.0.1:9001
//! ```
//!
//! Each line of the input is a topic and a text, such as `weather rain`. A client names its topics in
//! the URL: `ws://127.0.0.1:9001/?topic=weather&topic=clock`. The topic `clock` has the seconds since
//! the start, from a second thread.
//!
//! A `Publisher` can be cloned, and be used from any thread. It never waits: when the server is
//! slower than its publishers, `publish` fails with `Full`, and the thread decides what to do. The
//! reader of the lines tries again, so that the writer of the pipe waits; the clock skips a second.

use ringway::{
    Connection, Handler, Limits, Message, Prepared, PublishError, Publisher, Request, Server, StatusCode, Upgrade,
};
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, io, thread};

/// The maximum number of topics of one connection.
const MAX_TOPICS: usize = 16;

/// The time until a line is published again that found a full mailbox.
const RETRY_AFTER: Duration = Duration::from_millis(1);

struct Subscribers;

impl Handler for Subscribers {
    /// The topics, until the connection is open.
    type State = Vec<String>;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Vec<String>> {
        let topics = request.query_pairs().filter(|(name, _)| name == "topic").map(|(_, topic)| topic.into_owned());
        let topics: Vec<String> = topics.take(MAX_TOPICS + 1).collect();
        if (1..=MAX_TOPICS).contains(&topics.len()) {
            return Upgrade::accept(topics);
        }
        Upgrade::reject(StatusCode::BAD_REQUEST, "give 1 to 16 topics: /?topic=weather&topic=clock")
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        for topic in std::mem::take(conn.state()) {
            // A topic without a name, for example, is not valid.
            if let Err(limit) = conn.subscribe(&topic) {
                let _ = conn.send(Message::text(&limit.to_string()));
            }
        }
        // What is published from now on is received.
        let _ = conn.send(Message::text("subscribed"));
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

/// Publishes the lines of the standard input, until its end.
fn publish_lines(publisher: &Publisher) -> Result<(), Box<dyn Error>> {
    for line in io::stdin().lines() {
        let line = line?;
        let Some((topic, text)) = line.split_once(' ') else {
            eprintln!("publishers: not published, because it has no text: {line:?}");
            continue;
        };
        let message = Prepared::text(text);
        loop {
            match publisher.publish(topic, &message) {
                Ok(_) => break,
                Err(PublishError::Full) => thread::sleep(RETRY_AFTER),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Publishes the time once a second, while the server runs.
fn publish_time(publisher: &Publisher) {
    let start = Instant::now();
    for seconds in 1.. {
        thread::sleep((start + Duration::from_secs(seconds)).saturating_duration_since(Instant::now()));
        if publisher.publish("clock", &Prepared::text(&seconds.to_string())) == Err(PublishError::Ended) {
            return;
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publishers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("give the address to listen on, such as 127.0.0.1:9001")?;
    let limits = Limits::default().max_message(1024)?;
    let running = Server::bind(address)?.limits(limits).start(|_shard| Subscribers)?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    let (lines, clock) = (running.publisher(), running.publisher());
    thread::Builder::new().name("clock".to_owned()).spawn(move || publish_time(&clock))?;
    publish_lines(&lines)?;
    running.stop();
    running.wait()?;
    Ok(())
}
