//! `--app echo`: sends each message back.

use super::{App, Syntax, without_options};
use crate::serve::site;
use ringway::{Connection, Handler, Message, Request, Response, Upgrade};

pub(super) const SYNTAX: Syntax = Syntax {
    name: "echo",
    example: "echo",
    help: "Send each message back",
    parse: |options| without_options(App::Echo, options),
};

pub(crate) struct EchoApp;

impl Handler for EchoApp {
    type State = ();

    fn request(&mut self, request: &Request<'_>) -> Response {
        site::respond(request)
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}
