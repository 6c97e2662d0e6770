//! The populations of a scenario: behaviours, loads and messages.

use super::file::{At, BehaviourWord, KindWord, MessageTable, PopulationTable};
use super::value::{Form, Written};
use super::{Scenario, ScenarioError};
use crate::message::{Alphabet, Content, ContentError, Literal, RecordFormat, RecordOrder, Sizes};
use crate::pace::Arrivals;
use crate::parse;
use crate::plan::{Behaviour, Load, Population};
use crate::recording::Speed;
use ringway::MessageKind;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

impl Scenario {
    /// A population. A ramp of its rate takes `duration`, after the warm-up.
    pub(super) fn population(
        &self,
        table: &Spanned<PopulationTable>,
        warmup: Duration,
        duration: Duration,
    ) -> Result<Population, ScenarioError> {
        let (span, table) = (table.span(), table.get_ref());
        let behaviour = self.behaviour(table, &span)?;
        let load = self.load(table, &behaviour, warmup, duration)?;
        let message = match &table.message {
            Some(message) if table.recording.is_some() => {
                return Err(self.at(&message.span(), "the population sends its `recording`: remove one of them"));
            }
            _ if matches!(behaviour, Behaviour::Replay { .. }) => self.recording(table, &span)?,
            Some(message) if !behaviour.sends() => {
                return Err(self.at(&message.span(), does_not_apply("message", behaviour.name())));
            }
            Some(message) => self.content(message)?,
            None => Content::default(),
        };
        let default = Population::new(behaviour);
        Ok(Population {
            name: table.name.clone().unwrap_or_else(|| default.name.clone()),
            connections: table.connections.as_ref().map_or(default.connections, |connections| connections.0),
            load,
            message,
            ..default
        })
    }

    fn behaviour(&self, table: &PopulationTable, span: &Range<usize>) -> Result<Behaviour, ScenarioError> {
        let name = table.behaviour.value();
        // The defaults are those of the flag.
        let mut behaviour = match table.behaviour {
            BehaviourWord::Replay => Behaviour::Replay { speed: Speed::default() },
            _ => name.parse().map_err(|error: String| self.at(span, error))?,
        };
        let keys = [
            ("think", span_of(&table.think), "request"),
            ("lifetime", span_of(&table.lifetime), "churn"),
            ("pause", span_of(&table.pause), "churn"),
            ("ping", span_of(&table.ping), "idle"),
            ("recording", span_of(&table.recording), "replay"),
            ("speed", span_of(&table.speed), "replay"),
            ("publishers", span_of(&table.publishers), "broadcast"),
            ("topic", span_of(&table.topic), "broadcast"),
            ("bytes-per-second", span_of(&table.bytes_per_second), "slow"),
        ];
        if let Some((key, Some(span), _)) = keys.iter().find(|(_, span, of)| span.is_some() && *of != name) {
            return Err(self.at(span, does_not_apply(key, name)));
        }
        match &mut behaviour {
            Behaviour::Request { think } => set(think, &table.think),
            Behaviour::Churn { lifetime, pause } => {
                set(lifetime, &table.lifetime);
                set(pause, &table.pause);
            }
            Behaviour::Replay { speed } => set(speed, &table.speed),
            Behaviour::Idle { ping } => *ping = table.ping.as_ref().map(|time| time.get_ref().0),
            Behaviour::Broadcast { publishers, topic } => {
                set(publishers, &table.publishers);
                *topic = table.topic.as_ref().map(|topic| topic.get_ref().0.clone());
            }
            Behaviour::Slow { bytes_per_second } => set(bytes_per_second, &table.bytes_per_second),
            Behaviour::Echo | Behaviour::Send | Behaviour::Receive | Behaviour::Connect => {}
        }
        Ok(behaviour)
    }

    /// The messages of a replay.
    fn recording(&self, table: &PopulationTable, span: &Range<usize>) -> Result<Content, ScenarioError> {
        let Some(path) = &table.recording else {
            return Err(self.at(span, "replay sends a recording: give `recording`, the path of one"));
        };
        Content::recording(&self.resolve(path.get_ref())).map_err(|error| self.at(&path.span(), error))
    }

    fn load(
        &self,
        table: &PopulationTable,
        behaviour: &Behaviour,
        warmup: Duration,
        duration: Duration,
    ) -> Result<Load, ScenarioError> {
        let name = behaviour.name();
        let (rate, stages) = (span_of(&table.rate), span_of(&table.stages));
        if let (Some(span), true) = (rate.clone().or(stages.clone()), !behaviour.has_schedule()) {
            return Err(self.at(&span, does_not_apply(if rate.is_some() { "rate" } else { "stages" }, name)));
        }
        if let Some(pipeline) = &table.pipeline {
            if !behaviour.has_pipeline() {
                return Err(self.at(&pipeline.span(), does_not_apply("pipeline", name)));
            }
            if rate.is_some() || stages.is_some() {
                let why = "an open loop has no `pipeline`: remove it, or `rate` and `stages`";
                return Err(self.at(&pipeline.span(), why));
            }
        }
        let first = table.rate.as_ref().map(|rate| rate.get_ref().0);
        let schedule = match (&table.stages, first) {
            (Some(stages), Some(first)) if first.is_ramp() => {
                let why = "stages begin at one rate: give `rate` one number, or leave it out to begin at 0";
                return Err(self.at(&span_of(&table.rate).unwrap_or(stages.span()), why));
            }
            (Some(stages), first) => {
                let list: Vec<parse::Stage> = stages.get_ref().iter().map(|stage| stage.0).collect();
                let first = first.map_or(0, parse::RateRange::first);
                Some((parse::schedule_of(&list, first, warmup, 1.0), stages.span()))
            }
            (None, Some(rate)) => {
                Some((rate.schedule(warmup, duration, 1.0), span_of(&table.rate).unwrap_or_default()))
            }
            (None, None) => None,
        };
        match (schedule, &table.arrivals) {
            (Some((schedule, span)), arrivals) => Ok(Load::Open {
                schedule: schedule.map_err(|error| self.at(&span, error))?,
                arrivals: arrivals.as_ref().map_or(Arrivals::Uniform, |arrivals| arrivals.get_ref().value()),
            }),
            (None, Some(arrivals)) => {
                Err(self.at(&arrivals.span(), "`arrivals` is of an open loop: give `rate` or `stages`, or remove it"))
            }
            (None, None) => {
                Ok(Load::Closed { in_flight: table.pipeline.as_ref().map_or(1, |pipeline| pipeline.get_ref().0) })
            }
        }
    }

    fn content(&self, table: &Spanned<MessageTable>) -> Result<Content, ScenarioError> {
        let (span, table) = (table.span(), table.get_ref());
        let given = [
            ("size", span_of(&table.size)),
            ("text", span_of(&table.text)),
            ("file", span_of(&table.file)),
            ("records", span_of(&table.records)),
        ];
        let mut given = given.iter().filter_map(|(key, span)| Some((*key, span.clone()?)));
        let (source, span) = given.next().unwrap_or(("size", span));
        if let Some((other, span)) = given.next() {
            return Err(self.at(&span, format!("the message has `{source}` and `{other}`: give one of them")));
        }
        let kind = table.kind.as_ref().map_or(KindWord::Text, |kind| *kind.get_ref());
        if let Some(at) = table.kind.as_ref().filter(|_| {
            source != "size" && matches!(kind, KindWord::Unicode | KindWord::Json)
                || source == "text" && kind == KindWord::Binary
        }) {
            let why = format!(
                "`{source}` has no messages of this kind: {}",
                match source {
                    "text" => "remove `kind`",
                    _ => "give \"text\" or \"binary\"",
                }
            );
            return Err(self.at(&at.span(), why));
        }
        let records = [("format", span_of(&table.format)), ("order", span_of(&table.order))];
        if let Some((key, Some(span))) = records.iter().find(|(_, span)| span.is_some() && source != "records") {
            return Err(self.at(span, format!("`{key}` is of `records`: remove it")));
        }
        let of_message = match kind {
            KindWord::Binary => MessageKind::Binary,
            _ => MessageKind::Text,
        };
        let content = if let Some(text) = &table.text {
            text.get_ref().parse().map(|template| Content::Template(Arc::new(template))).map_err(ContentError::from)
        } else if let Some(path) = &table.file {
            let argument = self.argument(path.get_ref()).map_err(|why| self.at(&span, why))?;
            match of_message {
                MessageKind::Text => Content::template(&argument),
                MessageKind::Binary => Literal::from_argument(&argument, of_message).map(Content::Literal),
            }
        } else if let Some(path) = &table.records {
            // As with the flags.
            let default = match of_message {
                MessageKind::Text => RecordFormat::Lines,
                MessageKind::Binary => RecordFormat::Prefixed,
            };
            let format = table.format.as_ref().map_or(default, |format| format.get_ref().value());
            let order = table.order.as_ref().map_or(RecordOrder::RoundRobin, |order| order.get_ref().value());
            Content::records(&self.resolve(path.get_ref()), format, order, of_message)
        } else {
            let sizes = table.size.as_ref().map_or_else(|| Sizes::fixed(64), |sizes| Ok(sizes.get_ref().0.clone()));
            let sizes = sizes.map_err(|error| self.at(&span, error))?;
            Ok(match kind {
                KindWord::Json => Content::Json(sizes),
                KindWord::Text => Content::Random { sizes, alphabet: Alphabet::Ascii },
                KindWord::Unicode => Content::Random { sizes, alphabet: Alphabet::Mixed },
                KindWord::Binary => Content::Random { sizes, alphabet: Alphabet::Binary },
            })
        };
        let content = content.and_then(|content| content.check().map(|()| content));
        content.map_err(|error| self.at(&span, error))
    }

    /// The argument that names a file.
    fn argument(&self, path: &Path) -> Result<String, String> {
        let path = self.resolve(path);
        path.to_str().map(|path| format!("@{path}")).ok_or_else(|| format!("{} is not UTF-8", path.display()))
    }
}

/// The position of a value that is given.
fn span_of<T>(value: &At<T>) -> Option<Range<usize>> {
    value.as_ref().map(Spanned::span)
}

/// Replaces a default by a value that is given.
fn set<F: Form>(to: &mut F::Value, value: &At<Written<F>>) {
    if let Some(value) = value {
        *to = value.get_ref().0.clone();
    }
}

fn does_not_apply(key: &str, behaviour: &str) -> String {
    format!("`{key}` does not apply to {behaviour}: remove it, or give another behaviour")
}
