//! A feed of prices of which a slow reader receives the latest, and not each.
//!
//! ```sh
//! cargo run --release -p ringway --example market -- 127.0.0.1:9001 100 10000
//! ```
//!
//! The arguments are the address to listen on, the number of shares, the number of updates a second,
//! and, for a feed that ends, the number of updates. Each message is `NUMBER SHARE` with the number of
//! the update, and the prices of ten bids and ten asks.
//!
//! The topic has the policy `Latest`: it keeps the last price of each share. A reader that keeps up
//! receives every update. One that does not, because its network is slow, skips updates, and receives
//! the last price of each share when it has room again: it is never further behind than its outbox
//! is long. A new reader receives the last price of each share first.

use ringway::{
    Connection, Handler, Limits, Message, Prepared, PublishError, Publisher, Request, Server, Shard, TopicPolicy,
    Upgrade,
};
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

const TOPIC: &str = "prices";

/// The maximum number of shares.
const MAX_SHARES: u64 = 10_000;

/// The output of one reader in bytes. A reader with more is slow.
const MAX_BUFFERED: usize = 64 << 10;

/// The updates that wait for other shards, and the latest ones that are kept, in bytes.
const MAX_PUBLISHED: usize = 4 << 20;

/// The time until an update is published again that found a full mailbox.
const RETRY_AFTER: Duration = Duration::from_millis(1);

struct Readers;

impl Handler for Readers {
    type State = ();

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        shard.set_topic(TOPIC, TopicPolicy::Latest).expect("the shard has no other topic");
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        if let Err(limit) = conn.subscribe(TOPIC) {
            eprintln!("market: {limit}");
            conn.terminate();
        }
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

/// Publishes updates at a rate, until the last one or the end of the server.
fn publish(publisher: &Publisher, shares: u64, rate: u64, last: Option<u64>) -> Result<(), PublishError> {
    let start = Instant::now();
    for number in 1..=last.unwrap_or(u64::MAX) {
        // The prices are a function of the update: there is no market behind them.
        let (share, price) = (number % shares, 10_000 + number * 7919 % 1000);
        let mut text = format!("{number} {share}");
        for price in price - 10..price + 10 {
            text += &format!(" {}.{:02}", price / 100, price % 100);
        }
        let due = start + Duration::from_secs_f64(number as f64 / rate as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let message = Prepared::text(&text);
        while let Err(error) = publisher.publish_keyed(TOPIC, share, &message) {
            match error {
                PublishError::Full => thread::sleep(RETRY_AFTER),
                _ => return Err(error),
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("market: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("give the address to listen on, the number of shares, and the rate")?;
    let mut number = |name: &str, max: u64| {
        let Some(text) = arguments.next() else { return Ok(None) };
        match text.parse() {
            Ok(number) if (1..=max).contains(&number) => Ok(Some(number)),
            _ => Err(format!("{name} is {text}: give 1 to {max}")),
        }
    };
    let shares = number("the number of shares", MAX_SHARES)?.unwrap_or(100);
    let rate = number("the number of updates a second", 10_000_000)?.unwrap_or(10_000);
    let last = number("the number of updates", u64::MAX)?;
    let limits = Limits::default().max_message(1024)?.max_buffered(MAX_BUFFERED)?.max_published(MAX_PUBLISHED)?;
    let running = Server::bind(address)?.limits(limits).start(|_shard| Readers)?;
    running.stop_on_signals()?;
    for address in running.addresses() {
        println!("listening on ws://{address}/");
    }
    let publisher = running.publisher();
    let feed = move || match publish(&publisher, shares, rate, last) {
        Ok(()) => println!("the last update is published"),
        // The server stops.
        Err(error) => eprintln!("market: {error}"),
    };
    thread::Builder::new().name("feed".to_owned()).spawn(feed)?;
    running.wait()?;
    Ok(())
}
