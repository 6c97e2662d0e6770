//! The resident memory of subscriptions. It has a process of its own, because it measures all of it.

use ringway::{Client, Config, Connection, Cores, Endpoint, Handler, Message, Request, Server, Shards, Upgrade};
use std::sync::Arc;
use std::sync::mpsc;

/// The number of subscriptions.
const COUNT: usize = 1_000_000;

/// The maximum number of connections.
const CONNECTIONS: usize = 10_000;

/// The maximum resident memory of a subscription in bytes.
const MAX: f64 = 32.0;

struct Subscribing {
    names: Arc<Vec<String>>,
}

impl Handler for Subscribing {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

struct Connecting {
    opened: mpsc::Sender<()>,
}

impl Handler for Connecting {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, _: &mut Connection<'_, Self>) {
        self.opened.send(()).expect("the test waits");
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

/// The resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the resident memory");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Runs `work` with the server's shard, and returns its result.
fn ask<T: Send + 'static>(
    handle: &ringway::ShardHandle<Subscribing>,
    work: impl FnOnce(&mut Subscribing, &mut ringway::Shard<'_, Subscribing>) -> T + Send + 'static,
) -> T {
    let (answer, answered) = mpsc::channel();
    let post = handle.post(move |handler, shard| answer.send(work(handler, shard)).expect("the test waits"));
    post.expect("the mailbox has room");
    answered.recv().expect("the shard runs")
}

#[test]
fn a_million_subscriptions_take_at_most_32_bytes_each() {
    // Both ends of a connection are in this process.
    let descriptors = ringway::raise_descriptor_limit().expect("it can be read").soft.unwrap_or(1 << 20) as usize;
    let connections = CONNECTIONS.min(descriptors.saturating_sub(200) / 2);
    let topics = COUNT.div_ceil(connections);
    let config = Config::default().cores(Cores::Unpinned).expect("no list");
    let names = Arc::new((0..topics).map(|number| format!("topic number {number}")).collect::<Vec<_>>());
    let server = Server::bind("127.0.0.1:0").expect("a free port").config(config.clone()).shards(Shards::Count(1));
    let running = {
        let names = Arc::clone(&names);
        server.start(move |_| Subscribing { names: Arc::clone(&names) }).expect("it starts")
    };
    let (opened, is_open) = mpsc::channel();
    let client = Client::new().config(config).shards(Shards::Count(1));
    let client = client.start(move |_| Connecting { opened: opened.clone() }).expect("it starts");
    let url = format!("ws://{}/", running.addresses()[0]);
    let endpoint = Arc::new(Endpoint::resolve(&url).expect("an address"));
    let connect = client.handles()[0].post(move |_, shard| {
        (0..connections).for_each(|_| shard.connect(&endpoint, ()));
    });
    connect.expect("the mailbox has room");
    (0..connections).for_each(|_| is_open.recv().expect("all connect"));

    let handle = &running.handles()[0];
    let before = ask(handle, |_, _| resident());
    let (count, after) = ask(handle, |handler, shard| {
        let names = Arc::clone(&handler.names);
        shard.for_each_connection(|conn| {
            for name in names.iter() {
                assert_eq!(conn.subscribe(name), Ok(true));
            }
        });
        (shard.subscription_count(), resident())
    });
    assert_eq!(count, connections * topics);
    let each = after.saturating_sub(before) as f64 / count as f64;
    println!("{each:.1} bytes for each of {count} subscriptions ({connections} connections, {topics} topics)");
    assert!((16.0..=MAX).contains(&each), "{each:.1} bytes of resident memory for each subscription");
    running.stop();
    client.stop();
    running.wait().expect("it ends without an error");
    client.wait().expect("it ends without an error");
}
