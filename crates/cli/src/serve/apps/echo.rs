//! `--app echo`: sends each message back.

use super::{App, Syntax, without_options};
use ringway::{Connection, Handler, Message, Request, Upgrade};

pub(super) const SYNTAX: Syntax = Syntax {
    name: "echo",
    example: "echo",
    help: "Send each message back",
    parse: |options| without_options(App::Echo, options),
};

pub(crate) struct EchoApp;

impl Handler for EchoApp {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}
