//! Reading the numbers of running shards from other threads.

use super::published::Published;
use super::snapshot::Metrics;
use crate::shard::mailbox::MailboxCounts;
use std::sync::Arc;

/// Reads the numbers of running shards, from any thread, also after the shards have ended.
///
/// The shards copy their numbers at the end of each turn, so a read takes no lock and does not
/// disturb a shard. Each number is consistent by itself, but two of them may be of different turns.
///
/// ```
/// use ringway::{Client, Connection, Handler, Message, Request, Shards, Upgrade};
/// # struct Quiet;
/// # impl Handler for Quiet {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> { Upgrade::accept(()) }
/// #     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
/// # }
///
/// let running = Client::new().shards(Shards::Count(2)).start(|_| Quiet)?;
/// let reader = running.metrics_reader();
/// let open: u64 = reader.read().shards.iter().map(|shard| shard.connections.open).sum();
/// assert_eq!(open, 0);
/// running.stop();
/// running.wait()?;
/// assert_eq!(reader.read().shards.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricsReader {
    pub(crate) shards: Arc<[(Arc<Published>, Arc<MailboxCounts>)]>,
}

impl MetricsReader {
    /// The numbers of all shards. Costs a few microseconds for each shard.
    #[must_use]
    pub fn read(&self) -> Metrics {
        let read = |(shard, (published, mailbox)): (usize, &(Arc<Published>, Arc<MailboxCounts>))| {
            let mut metrics = published.read(shard);
            metrics.mailbox_messages = mailbox.waiting();
            metrics.counters.mailbox_full += mailbox.refused();
            metrics
        };
        Metrics { shards: self.shards.iter().enumerate().map(read).collect() }
    }
}
