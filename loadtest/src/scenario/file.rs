//! The tables and keys of a scenario. docs/scenarios.md describes them.

use super::value::{
    Address, Bytes, Count, Distribution, LongCount, Origin, Rate, Share, SizeList, Sources, SpeedFactor, StageForm,
    Subprotocol, Time, TopicName, Url, Written,
};
use crate::message::{RecordFormat, RecordOrder};
use crate::pace::Arrivals;
use crate::plan::Verify;
use ringway::Deflate;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Spanned;

/// A value with its position.
pub(super) type At<T> = Option<Spanned<T>>;

/// A value that is written as in flags, with its position.
pub(super) type WrittenAt<F> = At<Written<F>>;

/// A scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct File {
    pub(super) duration: Option<Written<Time>>,
    pub(super) messages: WrittenAt<LongCount>,
    pub(super) warmup: Option<Written<Time>>,
    pub(super) timeout: Option<Written<Time>>,
    pub(super) verify: Option<VerifyWord>,
    pub(super) seed: Option<u64>,
    pub(super) max_errors: Option<Written<Share>>,
    #[serde(default)]
    pub(super) targets: Vec<TargetTable>,
    #[serde(default)]
    pub(super) connect: ConnectTable,
    #[serde(default)]
    pub(super) offer: OfferTable,
    pub(super) populations: Vec<Spanned<PopulationTable>>,
}

/// `[[targets]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as { url = \":9001\" }")]
pub(super) struct TargetTable {
    pub(super) url: Spanned<Written<Url>>,
    pub(super) weight: Option<Written<Count>>,
    #[serde(default)]
    pub(super) addresses: Vec<Written<Address>>,
}

/// `[connect]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as { rate = 100 }")]
pub(super) struct ConnectTable {
    pub(super) rate: Option<Written<Count>>,
    pub(super) concurrency: Option<Written<Count>>,
    pub(super) timeout: Option<Written<Time>>,
    #[serde(default)]
    pub(super) sources: Vec<Written<Sources>>,
}

/// `[offer]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as { deflate = \"shared\" }")]
pub(super) struct OfferTable {
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) cookies: BTreeMap<String, Spanned<String>>,
    pub(super) bearer: At<String>,
    pub(super) basic: At<String>,
    pub(super) origin: WrittenAt<Origin>,
    #[serde(default)]
    pub(super) subprotocols: Vec<Written<Subprotocol>>,
    pub(super) deflate: Option<DeflateWord>,
    pub(super) tls: At<TlsTable>,
}

/// `[offer.tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as { insecure = true }")]
pub(super) struct TlsTable {
    #[serde(default)]
    pub(super) cacert: Vec<PathBuf>,
    #[serde(default)]
    pub(super) insecure: bool,
    pub(super) servername: Option<String>,
    pub(super) alpn: Option<Vec<String>>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    #[serde(default)]
    pub(super) resume: bool,
}

/// `[[populations]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as { behaviour = \"echo\" }")]
pub(super) struct PopulationTable {
    pub(super) name: Option<String>,
    pub(super) behaviour: BehaviourWord,
    pub(super) connections: Option<Written<Count>>,
    pub(super) think: WrittenAt<Distribution>,
    pub(super) lifetime: WrittenAt<Distribution>,
    pub(super) pause: WrittenAt<Distribution>,
    pub(super) ping: WrittenAt<Time>,
    pub(super) recording: At<PathBuf>,
    pub(super) speed: WrittenAt<SpeedFactor>,
    pub(super) publishers: WrittenAt<Count>,
    pub(super) topic: WrittenAt<TopicName>,
    pub(super) bytes_per_second: WrittenAt<Bytes>,
    pub(super) pipeline: WrittenAt<Count>,
    pub(super) rate: WrittenAt<Rate>,
    pub(super) stages: At<Vec<Written<StageForm>>>,
    pub(super) arrivals: At<ArrivalsWord>,
    pub(super) message: At<MessageTable>,
}

/// `[populations.message]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table, as { size = 512 }")]
pub(super) struct MessageTable {
    pub(super) size: WrittenAt<SizeList>,
    pub(super) text: At<String>,
    pub(super) file: At<PathBuf>,
    pub(super) records: At<PathBuf>,
    pub(super) kind: At<KindWord>,
    pub(super) format: At<FormatWord>,
    pub(super) order: At<OrderWord>,
}

/// Declares words, each with the value that it stands for.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident as $value:ty { $($word:ident = $of:expr,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
            #[serde(rename_all = "kebab-case")]
            pub(super) enum $name { $($word,)+ }

            impl $name {
                pub(super) fn value(self) -> $value {
                    match self { $(Self::$word => $of,)+ }
                }
            }
        )+
    };
}

words! {
    VerifyWord as Verify { Off = Verify::Off, Sample = Verify::Sample, All = Verify::All, }
    ArrivalsWord as Arrivals { Uniform = Arrivals::Uniform, Poisson = Arrivals::Poisson, }
    DeflateWord as Option<Deflate> {
        Off = None,
        Shared = Some(Deflate::shared()),
        Takeover = Some(Deflate::takeover()),
    }
    FormatWord as RecordFormat { Lines = RecordFormat::Lines, Prefixed = RecordFormat::Prefixed, }
    OrderWord as RecordOrder { RoundRobin = RecordOrder::RoundRobin, Random = RecordOrder::Random, }
    /// The name as [`Behaviour`](crate::Behaviour) reads it, except replay.
    BehaviourWord as &'static str {
        Echo = "echo",
        Request = "request",
        Send = "send",
        Replay = "replay",
        Receive = "receive",
        Idle = "idle",
        Connect = "connect",
        Broadcast = "broadcast",
        Churn = "churn",
        Slow = "slow",
    }
}

/// The kind of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum KindWord {
    Text,
    Unicode,
    Binary,
    Json,
}
