//! `--app broadcast:topic`: as `broadcast`, on a topic of the engine instead of a send for each
//! connection. A subscriber that reads too slowly misses messages.

use crate::serve::site;
use ringway::{Connection, Handler, Message, MessageKind, Prepared, Request, Response, Shard, TopicPolicy, Upgrade};

/// The topic of all connections.
const ALL: &str = "all";

/// The application of one shard.
pub(crate) struct BroadcastTopicApp;

impl Handler for BroadcastTopicApp {
    type State = ();

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        if let Err(limit) = shard.set_topic(ALL, TopicPolicy::DropNewest) {
            tracing::warn!("slow readers of the broadcast are closed instead of missing messages: {limit}");
        }
    }

    fn request(&mut self, request: &Request<'_>) -> Response {
        site::respond(request)
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        if let Err(limit) = conn.subscribe(ALL) {
            let _ = conn.close(ringway::CloseCode::TRY_AGAIN, &limit.to_string());
        }
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let prepared = match (message.kind(), message.as_text()) {
            (MessageKind::Text, Some(text)) => Prepared::text(text),
            _ => Prepared::binary(message.payload()),
        };
        if let Err(limit) = conn.shard().publish(ALL, &prepared) {
            // A message that is not published is not lost silently.
            let _ = conn.close(ringway::CloseCode::TRY_AGAIN, &limit.to_string());
        }
    }
}
