//! `--app sink`: drops each message.

use super::{App, Syntax, without_options};
use crate::serve::site;
use ringway::{Connection, Handler, Message, Request, Response, Upgrade};

pub(super) const SYNTAX: Syntax = Syntax {
    name: "sink",
    example: "sink",
    help: "Drop each message",
    parse: |options| without_options(App::Sink, options),
};

pub(crate) struct SinkApp;

impl Handler for SinkApp {
    type State = ();

    fn request(&mut self, request: &Request<'_>) -> Response {
        site::respond(request)
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}
