//! The flags of `serve` for topics: how many there are, and what they hold.

use crate::values::{connections, some_size};
use clap::Args;
use ringway::{ConfigError, Limits};

#[derive(Debug, Args)]
#[command(next_help_heading = "Topics")]
pub(crate) struct TopicOptions {
    /// Maximum number of topics of one shard that have subscribers or a policy
    #[arg(long, value_name = "N", default_value = "100k", value_parser = connections)]
    max_topics: u32,
    /// Maximum number of topics that one connection subscribes to
    #[arg(long, value_name = "N", default_value = "1024", value_parser = connections)]
    max_subscriptions: u32,
    /// Maximum number of keys of a topic that keeps the latest message of each key
    #[arg(long, value_name = "N", default_value = "65536", value_parser = connections)]
    max_topic_keys: u32,
    /// Published messages that a shard holds until its subscribers have them, and as the latest of
    /// their keys
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = some_size)]
    max_published: usize,
}

impl TopicOptions {
    pub(crate) fn limits(&self, limits: Limits) -> Result<Limits, ConfigError> {
        limits
            .max_topics(self.max_topics as usize)?
            .max_subscriptions(self.max_subscriptions as usize)?
            .max_topic_keys(self.max_topic_keys as usize)?
            .max_published(self.max_published)
    }
}
