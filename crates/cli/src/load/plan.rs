//! The plan of a run from the flags of `load`.

use super::arguments::Load;
use super::resolve::addresses_of;
use super::traffic::schedule_of;
use crate::exit::Failure;
use crate::tls::LoadTlsError;
use crate::values::cores_of;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringway::{HeaderMap, HeaderName, HeaderValue};
use ringway_loadtest::message::{Literal, RecordFormat, RecordOrder};
use ringway_loadtest::{
    Alphabet, Behaviour, ConnectPlan, Content, Load as LoadOf, Offer, Plan, Population, RunLength, Stop, Target,
};
use std::time::Duration;

/// Why there is no plan.
pub(super) enum PlanFailure {
    /// The flags are wrong.
    Usage(String),
    /// Something that they name is.
    Other(Failure),
}

impl From<String> for PlanFailure {
    fn from(error: String) -> Self {
        Self::Usage(error)
    }
}

/// The plan of these flags.
pub(super) fn plan(arguments: &Load, stop: Stop) -> Result<Plan, PlanFailure> {
    let first = arguments.urls.first().map_or("", |(url, _)| url);
    let tls = arguments.urls.iter().find(|(url, _)| url.to_ascii_lowercase().starts_with("wss:"));
    let tls = match arguments.tls.client(tls.map_or(first, |(url, _)| url)) {
        Ok(tls) => tls,
        Err(LoadTlsError::Usage(error)) => return Err(PlanFailure::Usage(error)),
        Err(LoadTlsError::Tls(error)) => return Err(PlanFailure::Other(error.into())),
    };
    let length = match (arguments.messages, arguments.stage.is_empty()) {
        (Some(messages), _) => RunLength::Messages(messages),
        (None, true) => RunLength::Time(arguments.duration),
        (None, false) => RunLength::Time(arguments.stage.iter().map(|stage| stage.within).sum()),
    };
    let targets = arguments.urls.iter().map(|(url, weight)| Target {
        weight: *weight,
        addresses: addresses_of(url, &arguments.resolve),
        ..Target::new(url)
    });
    let mut plan = Plan {
        targets: targets.collect(),
        length,
        warmup: arguments.warmup,
        connect: ConnectPlan {
            rate: arguments.connect_rate.map(|rate| rate as f64),
            concurrency: arguments.connect_concurrency,
            timeout: arguments.connect_timeout,
            sources: arguments.source_ip.iter().flatten().copied().collect(),
        },
        offer: Offer {
            tls,
            headers: headers(arguments)?,
            origin: arguments.origin.clone(),
            subprotocols: arguments.subprotocol.clone(),
            deflate: arguments.deflate.config(),
        },
        verify: arguments.verify.verify(),
        timeout: arguments.timeout,
        seed: arguments.seed,
        threads: arguments.threads,
        cores: cores_of(arguments.cores.as_ref()),
        busy_poll: arguments.busy_poll,
        driver: arguments.driver.choice(),
        max_errors: arguments.max_errors,
        stop,
        ..Plan::new(first)
    };
    plan.populations = populations(arguments, plan.warmup())?;
    Ok(plan)
}

/// The populations of `--mode` or `--mix`.
fn populations(arguments: &Load, warmup: Duration) -> Result<Vec<Population>, PlanFailure> {
    let message = content(arguments)?;
    let parts = match &arguments.mix {
        Some(mix) => mix.connections(arguments.connections),
        None => vec![(arguments.mode.clone(), arguments.connections)],
    };
    let duration = arguments.duration;
    let populations = parts.into_iter().map(|(behaviour, connections)| {
        let schedule = match (&arguments.rate, arguments.stage.as_slice()) {
            (rate, [_, ..]) => Some(schedule_of(&arguments.stage, *rate)),
            (Some(rate), []) => Some(rate.schedule(warmup, duration)),
            (None, []) => None,
        };
        // In a mix, the rate is that of the populations that can have one.
        let has_rate = arguments.mix.is_none()
            || !matches!(
                behaviour,
                Behaviour::Request { .. } | Behaviour::Receive | Behaviour::Idle { .. } | Behaviour::Slow { .. }
            );
        let load = match schedule.filter(|_| has_rate) {
            Some(schedule) => LoadOf::Open { schedule, arrivals: arguments.arrivals.arrivals() },
            None => LoadOf::Closed { in_flight: arguments.pipeline.unwrap_or(1) },
        };
        Population { connections, load, message: message.clone(), ..Population::new(behaviour) }
    });
    Ok(populations.collect())
}

/// What is sent.
fn content(arguments: &Load) -> Result<Content, PlanFailure> {
    let kind = if arguments.binary { ringway::MessageKind::Binary } else { ringway::MessageKind::Text };
    let content = if let Some(message) = &arguments.message {
        match arguments.binary {
            true => Literal::from_argument(message, kind).map(Content::Literal),
            false => Content::template(message),
        }
    } else if let Some(path) = &arguments.messages_from {
        let format = if arguments.binary { RecordFormat::Prefixed } else { RecordFormat::Lines };
        Content::records(path, format, RecordOrder::RoundRobin, kind)
    } else if arguments.json {
        Ok(Content::Json(arguments.size.clone()))
    } else {
        let alphabet = match (arguments.binary, arguments.unicode) {
            (true, _) => Alphabet::Binary,
            (false, true) => Alphabet::Mixed,
            (false, false) => Alphabet::Ascii,
        };
        Ok(Content::Random { sizes: arguments.size.clone(), alphabet })
    };
    let content = content.map_err(|error| error.to_string())?;
    content.check().map_err(|error| error.to_string())?;
    Ok(content)
}

/// The headers of the opening handshake.
fn headers(arguments: &Load) -> Result<HeaderMap, PlanFailure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &arguments.header {
        headers.append(name.clone(), value.clone());
    }
    let mut add = |name: &str, value: &str, flag: &str| {
        let name = HeaderName::try_from(name).map_err(|_| format!("{name:?} is not a valid header name"))?;
        if headers.contains_key(&name) {
            return Err(format!("give {name} once: with {flag}, or with -H"));
        }
        let value = HeaderValue::try_from(value)
            .map_err(|_| format!("the value of {flag} has characters that are not valid in a header"))?;
        headers.append(name, value);
        Ok(())
    };
    if !arguments.cookie.is_empty() {
        add("cookie", &arguments.cookie.join("; "), "--cookie")?;
    }
    if let Some(token) = &arguments.bearer {
        add("authorization", &format!("Bearer {token}"), "--bearer")?;
    }
    if let Some(credentials) = &arguments.basic {
        add("authorization", &format!("Basic {}", STANDARD.encode(credentials)), "--basic")?;
    }
    if arguments.origin.is_some() && headers.contains_key("origin") {
        return Err(PlanFailure::Usage("give the origin once: with --origin, or with -H".into()));
    }
    Ok(headers)
}
