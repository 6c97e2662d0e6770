//! Publishing from threads without a shard.

use super::exchange::Exchange;
use super::log::Content;
use super::parcel::{Item, Parcel};
use ringway_codec::Prepared;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::TrySendError;

/// Publishes messages to the subscribers of all shards, from any thread. Clones publish through the
/// same shard.
///
/// A message costs two atomic operations and an allocation, and wakes one shard, which passes it to
/// the others. Messages of one publisher and its clones reach each subscriber in the order of the
/// calls. They have no order with those that shards publish.
///
/// ```
/// use ringway::{Connection, Handler, Message, Prepared, Request, Server, Shards, Upgrade};
///
/// struct News;
///
/// impl Handler for News {
///     type State = ();
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
///         Upgrade::accept(())
///     }
///
///     fn open(&mut self, conn: &mut Connection<'_, Self>) {
///         conn.subscribe("news").expect("the first subscription of a connection");
///     }
///
///     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
/// }
///
/// let running = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).start(|_| News)?;
/// let publisher = running.publisher();
/// let writer = std::thread::spawn(move || publisher.publish("news", &Prepared::text("rain")));
/// assert_eq!(writer.join().expect("it does not panic"), Ok(0), "nobody has subscribed");
/// running.stop();
/// running.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Publisher {
    exchange: Arc<Exchange>,
    /// The shard that it publishes through.
    home: usize,
}

/// A message was not published. Nothing was sent.
///
/// ```
/// use ringway::{Prepared, PublishError, Publisher};
///
/// /// Whether the message is to be published again.
/// fn is_full(publisher: &Publisher, news: &Prepared) -> bool {
///     publisher.publish("news", news) == Err(PublishError::Full)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The mailbox of the shard that the publisher uses is full, because the shard is slower than the
    /// publishers: 1024 messages wait in it, or
    /// [`Limits::max_published`](crate::Limits::max_published) bytes. Try again later.
    #[error("the mailbox of the publisher's shard is full: publish again later")]
    Full,
    /// The shard that the publisher uses has ended.
    #[error("the publisher's shard has ended")]
    Ended,
}

impl Publisher {
    pub(crate) fn new(exchange: Arc<Exchange>, home: usize) -> Self {
        let home = home % exchange.shards();
        Self { exchange, home }
    }

    /// Publishes a message. Returns the number of shards that it is passed to; without any, nothing
    /// is done. Never blocks.
    ///
    /// # Errors
    /// A [`PublishError`]; the message is not published on any shard.
    pub fn publish(&self, topic: &str, message: &Prepared) -> Result<usize, PublishError> {
        self.publish_keyed(topic, 0, message)
    }

    /// Publishes a message with a key, as
    /// [`Shard::publish_keyed`](crate::Shard::publish_keyed) does.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_keyed(&self, topic: &str, key: u64, message: &Prepared) -> Result<usize, PublishError> {
        let shards = self.exchange.interested(topic).count();
        if shards == 0 {
            return Ok(0);
        }
        let content = Content::Message { key, prepared: message.clone() };
        let parcel = Parcel { items: vec![Item { topic: topic.into(), content }], is_forwarded: true };
        match self.exchange.post(self.home, parcel) {
            Ok(()) => Ok(shards),
            Err(TrySendError::Full(_)) => Err(PublishError::Full),
            Err(TrySendError::Disconnected(_)) => Err(PublishError::Ended),
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher({})", self.home)
    }
}
