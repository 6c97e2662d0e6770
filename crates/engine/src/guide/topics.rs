//! Topics: messages to all who have subscribed.
//!
//! [`Connection::subscribe`] subscribes a connection to a topic, by a name of 1 to 255 bytes. Topics
//! need no declaration: the first subscription creates one, and the end of the last one removes it.
//! [`Connection::unsubscribe`] ends a subscription, and so does closing.
//!
//! [`Shard::publish`] sends a message to the subscribers of a topic on all shards,
//! [`Connection::publish`] to all of them except the connection itself, and [`Publisher::publish`]
//! does the same from a thread without a shard ([`Running::publisher`]). The message is a
//! [`Prepared`], which is encoded once, and compressed once for each window size.
//!
//! # What a publish costs
//!
//! The call itself costs a look-up of the name and an entry in a list. At the end of the turn a sweep
//! passes all messages of the turn to the subscribers. It joins the messages of a topic, so that a
//! subscriber costs one access to its session and one send, however many messages were published
//! meanwhile. The bytes are shared, not copied. A sweep submits about as many sends in a turn as
//! take a millisecond, which it measures, so that other connections are served while 100 000
//! subscribers receive a message.
//!
//! # Order
//!
//! A connection receives the messages that its own shard publishes, and those that it is sent
//! directly, in the order of the calls. Messages of another shard, or of one publisher, arrive in the
//! order in which they were published there. Messages of two shards have no order. A subscriber
//! receives each message once. When [`Connection::subscribe`] has returned, messages are received that
//! any shard publishes from then on: a peer that was told so can rely on it.
//!
//! # Slow subscribers
//!
//! A subscriber with more than [`Limits::max_buffered`] bytes of output has no room for further
//! messages. The policy of the topic states what happens then, see [`TopicPolicy`]. By default the
//! connection is closed with 1013, because a subscriber that misses messages without notice is worse
//! than one that connects again.
//!
//! # Limits
//!
//! [`Limits::max_subscriptions`], [`Limits::max_topics`], [`Limits::max_topic_keys`] and
//! [`Limits::max_published`]. A call that would exceed one returns a [`TopicLimit`] and changes
//! nothing. Subscriptions and messages count in the memory budget of the shard.
//!
//! When a shard is so slow that its mailbox is full, messages for it wait on the shards that publish
//! them, within `max_published`. Beyond that they are dropped, and its subscribers are treated as
//! slow ones by the policy of their topic. [`Counters::dropped_mailbox`] counts them.
//!
//! ```
//! use ringway::{Connection, Handler, Message, Prepared, Request, Shard, TopicPolicy, Upgrade};
//!
//! /// Passes prices to those who watch a market. A watcher that reads slowly skips prices, and one
//! /// that comes later gets the last price of each share at once.
//! struct Markets;
//!
//! impl Handler for Markets {
//!     type State = ();
//!
//!     fn start(&mut self, shard: &mut Shard<'_, Self>) {
//!         shard.set_topic("frankfurt", TopicPolicy::Latest).expect("the shard has no other topic");
//!     }
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
//!         Upgrade::accept(())
//!     }
//!
//!     fn open(&mut self, conn: &mut Connection<'_, Self>) {
//!         conn.subscribe("frankfurt").expect("the first subscription of a connection");
//!     }
//!
//!     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
//!         // `17 1290`: the number of the share, and its price
//!         let Some(text) = message.as_text() else { return };
//!         let share = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
//!         if let Err(limit) = conn.shard().publish_keyed("frankfurt", share, &Prepared::text(text)) {
//!             eprintln!("{limit}");
//!         }
//!     }
//! }
//! # let _ = Markets;
//! ```
//!
//! Next: [limits, the memory budget and deadlines](super::limits).
//!
//! [`Connection::publish`]: crate::Connection::publish
//! [`Connection::subscribe`]: crate::Connection::subscribe
//! [`Connection::unsubscribe`]: crate::Connection::unsubscribe
//! [`Counters::dropped_mailbox`]: crate::Counters::dropped_mailbox
//! [`Limits::max_buffered`]: crate::Limits::max_buffered
//! [`Limits::max_published`]: crate::Limits::max_published
//! [`Limits::max_subscriptions`]: crate::Limits::max_subscriptions
//! [`Limits::max_topic_keys`]: crate::Limits::max_topic_keys
//! [`Limits::max_topics`]: crate::Limits::max_topics
//! [`Prepared`]: crate::Prepared
//! [`Publisher::publish`]: crate::Publisher::publish
//! [`Running::publisher`]: crate::Running::publisher
//! [`Shard::publish`]: crate::Shard::publish
//! [`TopicLimit`]: crate::TopicLimit
//! [`TopicPolicy`]: crate::TopicPolicy
