//! Replacing a server by another one, with the API: what clients see over each kind of address, from
//! each driver to the other, and what happens when a successor fails.
//!
//! Both servers are in this process; `tests/cli` has two programs.

mod addresses;
mod failing;
mod inherited;
mod ledger;
mod messages;

use ledger::Ledger;
use ringway::handover::{self, HandoverError, OfferOptions, Predecessor};
use ringway::{Connection, DriverChoice, Handler, Message, Request, Running, Server, Shards, StartError, Upgrade};
use ringway_tests::config;
use std::path::Path;

/// Records messages, and sends them back.
struct Recorder(Ledger);

impl Handler for Recorder {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let text = message.as_text().expect("clients send text").to_owned();
        self.0.record(text);
        conn.reply(message);
    }
}

/// Starts a server.
fn start(server: Server, driver: DriverChoice, shards: u16, ledger: &Ledger) -> Running<Recorder> {
    let ledger = ledger.clone();
    let server = server.config(config().driver(driver)).shards(Shards::Count(shards.into()));
    server.start(move |_| Recorder(ledger.clone())).expect("it starts")
}

/// The process that offers its sockets.
fn predecessor(path: &Path) -> Predecessor {
    handover::take_over(path).expect("it answers").expect("it offers")
}

/// Starts a successor on the sockets that `make` asks for, which takes over and offers them again.
fn replace(
    path: &Path,
    driver: DriverChoice,
    shards: u16,
    ledger: &Ledger,
    make: impl FnOnce(&mut Predecessor) -> Result<Server, StartError>,
) -> Running<Recorder> {
    let mut former = predecessor(path);
    let server = make(&mut former).expect("the sockets listen");
    let running = start(server, driver, shards, ledger);
    former.release().expect("the former server waits for it");
    running.offer(path).expect("the path is free now");
    running
}

/// The two drivers.
const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];
