//! `churn-server uring|epoll`: the server of `churn.rs`, a process of its own so that its memory and
//! descriptors are those of the server alone.
//!
//! It publishes numbered messages to three topics, one for each policy, and each connection
//! subscribes to the topic of its path. It sends each message back, except for these texts:
//!
//! - `panic`: the handler panics.
//! - `flood`: it sends until the output of the connection is full.

use ringway::{
    BufferConfig, Config, Connection, Cores, DriverChoice, Handler, Message, Prepared, Request, SendOutcome, Server,
    Shard, Shards, TimerId, TopicPolicy, Upgrade,
};
use ringway_tests::bad_input;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

/// The bytes of a published message: its number, and others.
const SIZE: usize = 1024;

/// The time between two of each topic.
const INTERVAL: Duration = Duration::from_millis(10);

const TOPICS: [(&str, TopicPolicy); 3] =
    [("/close", TopicPolicy::Close), ("/newest", TopicPolicy::DropNewest), ("/latest", TopicPolicy::Latest)];

static FLOOD: [u8; 16 << 10] = [7; 16 << 10];

#[derive(Default)]
struct Publishing {
    number: u64,
}

impl Handler for Publishing {
    type State = &'static str;

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        for (topic, policy) in TOPICS {
            shard.set_topic(topic, policy).expect("the shard has no other topics");
        }
        shard.set_timer(INTERVAL, 0);
    }

    fn shard_timer(&mut self, shard: &mut Shard<'_, Self>, _: TimerId) {
        let payload = [&self.number.to_be_bytes()[..], &[b'.'; SIZE - 8]].concat();
        let prepared = Prepared::binary(&payload);
        for (topic, _) in TOPICS {
            shard.publish_keyed(topic, self.number % 10, &prepared).expect("the limits allow it");
        }
        self.number += 1;
        shard.set_timer(INTERVAL, 0);
    }

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<&'static str> {
        let topic = TOPICS.iter().find(|(topic, _)| request.path() == *topic);
        Upgrade::accept(topic.map_or("", |(topic, _)| topic))
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let topic = *conn.state();
        if !topic.is_empty() {
            conn.subscribe(topic).expect("the limits allow it");
        }
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match message.as_text() {
            Some("panic") => panic!("as requested"),
            Some("flood") => {
                while let SendOutcome::Sent | SendOutcome::Queued(_) = conn.send(Message::binary(&FLOOD)) {}
            }
            _ => conn.reply(message),
        }
    }
}

fn run(driver: &str) -> Result<(), Box<dyn Error>> {
    let driver = if driver == "epoll" { DriverChoice::Epoll } else { DriverChoice::Uring };
    let short = Duration::from_secs(2);
    let config = Config::default().cores(Cores::Unpinned)?.driver(driver).buffers(BufferConfig::new().count(16)?);
    let config = config.handshake_timeout(short)?.write_timeout(short)?.close_timeout(short)?.close_limit(short)?;
    let limits = bad_input::limits().max_buffered(256 << 10)?.max_memory(Some(16 << 20))?;
    let server = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).config(config).limits(limits);
    let running = server.start(|_| Publishing::default())?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}");
    }
    // The reports of panics are many.
    std::panic::set_hook(Box::new(|_| {}));
    println!("connections  without a limit");
    for report in running.wait()? {
        eprintln!("{report:?}");
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&std::env::args().nth(1).unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("churn-server: {error}");
            ExitCode::FAILURE
        }
    }
}
