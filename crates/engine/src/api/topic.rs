//! The types of publishing: policies, outcomes and limits.

/// The maximum length of a topic's name in bytes.
pub(crate) const MAX_NAME: usize = 255;

/// What a topic does with messages for a subscriber that reads slowly: one for which more than
/// [`Limits::max_buffered`](crate::Limits::max_buffered) bytes would be queued.
///
/// ```
/// use ringway::{Connection, Handler, Message, Request, Shard, TopicPolicy, Upgrade};
///
/// struct Market;
///
/// impl Handler for Market {
///     type State = ();
///
///     fn start(&mut self, shard: &mut Shard<'_, Self>) {
///         shard.set_topic("prices", TopicPolicy::Latest).expect("the shard has no other topic");
///     }
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
///         Upgrade::accept(())
///     }
///
///     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
/// }
/// # let _ = Market;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicPolicy {
    /// The connection is closed with 1013, so that no subscriber has a gap that it does not see.
    #[default]
    Close,
    /// The message is dropped for this subscriber. [`Handler::lagged`](crate::Handler::lagged) is
    /// called with the number of dropped messages at the end of the turn.
    DropNewest,
    /// The topic keeps the latest message of each key, see
    /// [`Shard::publish_keyed`](crate::Shard::publish_keyed). A slow subscriber misses messages, and
    /// receives the latest message of each changed key when it has read half of its output; a new
    /// subscriber receives the latest message of each key. Each is received in the order of the
    /// updates.
    Latest,
}

/// The receivers of a published message.
///
/// ```
/// use ringway::{Handler, Prepared, Shard};
///
/// fn has_receivers<H: Handler>(shard: &mut Shard<'_, H>, news: &Prepared) -> bool {
///     shard.publish("news", news).is_ok_and(|published| published.here > 0 || published.shards > 0)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The number of subscribers on this shard.
    pub here: usize,
    /// The number of other shards that the message is forwarded to. It can include shards without a
    /// subscriber, never exclude one with subscribers.
    pub shards: usize,
}

/// A topic cannot be used, because a limit is reached. Nothing was changed.
///
/// ```
/// use ringway::{Handler, Prepared, Shard, TopicLimit};
///
/// /// Whether the message is to be published again in a later turn.
/// fn publishes_later<H: Handler>(shard: &mut Shard<'_, H>, news: &Prepared) -> bool {
///     matches!(shard.publish("news", news), Err(TopicLimit::Backlog(_)))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicLimit {
    /// The name has no byte, or too many.
    #[error("the name of the topic has {0} bytes: give 1 to {MAX_NAME}")]
    Name(usize),
    /// The connection has as many subscriptions as it can have
    /// ([`Limits::max_subscriptions`](crate::Limits::max_subscriptions)).
    #[error("the connection has {0} subscriptions: unsubscribe first, or raise limits.max_subscriptions")]
    Subscriptions(usize),
    /// The shard has as many topics as it can have
    /// ([`Limits::max_topics`](crate::Limits::max_topics)).
    #[error("the shard has {0} topics: use fewer, or raise limits.max_topics")]
    Topics(usize),
    /// The topic has as many keys as it can have
    /// ([`Limits::max_topic_keys`](crate::Limits::max_topic_keys)).
    #[error("the topic has {0} keys: use fewer, or raise limits.max_topic_keys")]
    Keys(usize),
    /// So many bytes of published messages wait for their subscribers, or are kept as the latest of
    /// their keys ([`Limits::max_published`](crate::Limits::max_published)): publish it in a later
    /// turn.
    #[error("{0} bytes of published messages wait: publish in a later turn, or raise limits.max_published")]
    Backlog(usize),
    /// The shard is at its memory limit ([`Limits::max_memory`](crate::Limits::max_memory)): subscribe
    /// in a later turn.
    #[error("the shard is at its memory limit: subscribe in a later turn, or raise limits.max_memory")]
    Memory,
    /// The payload has more than 1 GiB.
    #[error("the message has {0} bytes: publish at most 1 GiB, in parts if necessary")]
    TooLarge(usize),
    /// The connection is closing: it has no subscriptions any more.
    #[error("the connection is closing: it can no longer subscribe")]
    Closing,
}
