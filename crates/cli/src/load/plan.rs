//! The plan of a run, from the flags of `load` and from a scenario.

use super::arguments::Load;
use crate::choices::Format;
use crate::exit::Failure;
use crate::tls::LoadTlsError;
use crate::values::{check_cores, cores_of};
use ringway_loadtest::message::{Literal, RecordFormat, RecordOrder};
use ringway_loadtest::parse::{self, addresses_of};
use ringway_loadtest::{
    Alphabet, Behaviour, Content, Load as LoadOf, Plan, Population, RunLength, Scenario, ScenarioError, Sizes, Stop,
    Target,
};
use std::net::SocketAddr;
use std::path::Path;
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

impl From<ScenarioError> for PlanFailure {
    fn from(error: ScenarioError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<LoadTlsError> for PlanFailure {
    fn from(error: LoadTlsError) -> Self {
        match error {
            LoadTlsError::Usage(error) => Self::Usage(error),
            LoadTlsError::Tls(error) => Self::Other(error.into()),
        }
    }
}

/// The plan of these flags. Those that are given beside a scenario replace its values.
pub(super) fn plan(arguments: &Load, stop: Stop) -> Result<Plan, PlanFailure> {
    if arguments.buckets && arguments.format == Format::Text {
        return Err(PlanFailure::Usage("--buckets is for the JSON report: add --format json".into()));
    }
    check_cores(arguments.cores.as_ref())?;
    let mut plan = match &arguments.scenario {
        Some(path) => of_scenario(arguments, path)?,
        None => of_flags(arguments)?,
    };
    add_addresses(&mut plan.targets, &arguments.resolve)?;
    replace_tls(&mut plan, arguments)?;
    replace_offer(&mut plan, arguments)?;
    let connect = &mut plan.connect;
    set(&mut connect.timeout, arguments.connect_timeout);
    set(&mut plan.verify, arguments.verify.map(super::traffic::VerifyName::verify));
    set(&mut plan.timeout, arguments.timeout);
    set(&mut plan.max_errors, arguments.max_errors);
    connect.rate = arguments.connect_rate.map(|rate| rate as f64).or(connect.rate);
    connect.concurrency = arguments.connect_concurrency.or(connect.concurrency);
    if !arguments.source_ip.is_empty() {
        connect.sources = arguments.source_ip.iter().flatten().copied().collect();
    }
    Ok(Plan {
        seed: arguments.seed.or(plan.seed),
        threads: arguments.threads,
        cores: cores_of(arguments.cores.as_ref()),
        busy_poll: arguments.busy_poll,
        driver: arguments.driver.choice(),
        buckets: arguments.buckets,
        stop,
        ..plan
    })
}

/// Replaces a value if a flag gives another one.
fn set<T>(value: &mut T, flag: Option<T>) {
    if let Some(flag) = flag {
        *value = flag;
    }
}

fn targets(arguments: &Load) -> Vec<Target> {
    arguments.urls.iter().map(|(url, weight)| Target { weight: *weight, ..Target::new(url) }).collect()
}

/// The plan of a scenario, with the length and the servers of the flags.
fn of_scenario(arguments: &Load, path: &Path) -> Result<Plan, PlanFailure> {
    let mut scenario = Scenario::read(path)?;
    match (arguments.messages, arguments.duration) {
        (Some(messages), _) => scenario.set_length(RunLength::Messages(messages)),
        (None, Some(duration)) => scenario.set_length(RunLength::Time(duration)),
        (None, None) => {}
    }
    if let Some(warmup) = arguments.warmup {
        scenario.set_warmup(warmup);
    }
    if !arguments.urls.is_empty() {
        scenario.set_targets(targets(arguments));
    }
    Ok(scenario.plan()?)
}

/// The plan of flags without a scenario, as far as a scenario would have it for its populations.
fn of_flags(arguments: &Load) -> Result<Plan, PlanFailure> {
    let mut plan = Plan { targets: targets(arguments), warmup: arguments.warmup, ..Plan::new("") };
    plan.length = match (arguments.messages, arguments.duration) {
        (Some(messages), _) => RunLength::Messages(messages),
        (None, Some(duration)) => RunLength::Time(duration),
        (None, None) if arguments.stage.is_empty() => plan.length,
        // Each stage is at most a year, and their number is limited by the command line.
        (None, None) => RunLength::Time(arguments.stage.iter().map(|stage| stage.within).sum()),
    };
    plan.populations = populations(arguments, &plan)?;
    Ok(plan)
}

/// The populations of `--mode` or `--mix`.
fn populations(arguments: &Load, plan: &Plan) -> Result<Vec<Population>, PlanFailure> {
    let mut parts = match &arguments.mix {
        Some(mix) => mix.connections(arguments.connections)?,
        None if arguments.replay.is_some() => {
            let speed = arguments.speed.unwrap_or_default();
            vec![(Behaviour::Replay { speed }, arguments.connections)]
        }
        None => vec![(arguments.mode.clone(), arguments.connections)],
    };
    if let Some(name) = &arguments.topic {
        let mut topics = parts.iter_mut().filter_map(|(behaviour, _)| match behaviour {
            Behaviour::Broadcast { topic, .. } => Some(topic),
            _ => None,
        });
        // A mix has at most one broadcast.
        let Some(topic) = topics.next() else {
            let mode = &parts[0].0;
            return Err(PlanFailure::Usage(format!(
                "--topic {name} is for broadcast, and the mode is {mode}: add --mode broadcast, or leave it out"
            )));
        };
        *topic = Some(name.clone());
    }
    if !parts.iter().any(|(behaviour, _)| behaviour.sends())
        && let Some(flag) = first_message_flag(arguments)
    {
        return Err(PlanFailure::Usage(format!("{flag} is for messages, and {} sends none: leave it out", parts[0].0)));
    }
    let message = content(arguments)?;
    // In a mix, a flag is for the populations that it applies to; the check refuses it if there are
    // none.
    let is_any = |applies: fn(&Behaviour) -> bool| parts.iter().any(|(part, _)| applies(part));
    let no_schedule = !is_any(Behaviour::has_schedule);
    let no_pipeline = !is_any(Behaviour::has_pipeline);
    let paced: u64 =
        parts.iter().filter(|(part, _)| part.has_schedule() || no_schedule).map(|(_, n)| u64::from(*n)).sum();
    let duration = if let RunLength::Time(duration) = plan.length { duration } else { RAMP };
    let populations = parts.iter().map(|(behaviour, connections)| {
        // The rate is that of all: each population has its share.
        let part = f64::from(*connections) / paced as f64;
        let schedule = match (&arguments.rate, arguments.stage.as_slice()) {
            _ if !behaviour.has_schedule() && !no_schedule => None,
            (rate, [_, ..]) => {
                let first = rate.map_or(0, parse::RateRange::first);
                Some(parse::schedule_of(&arguments.stage, first, plan.warmup(), part))
            }
            (Some(rate), []) => Some(rate.schedule(plan.warmup(), duration, part)),
            (None, []) => None,
        };
        let load = match schedule {
            Some(schedule) => LoadOf::Open {
                schedule: schedule.map_err(|error| error.to_string())?,
                arrivals: arguments.arrivals.arrivals(),
            },
            None if behaviour.has_pipeline() || no_pipeline => {
                LoadOf::Closed { in_flight: arguments.pipeline.unwrap_or(1) }
            }
            None => LoadOf::Closed { in_flight: 1 },
        };
        Ok(Population {
            connections: *connections,
            load,
            message: message.clone(),
            ..Population::new(behaviour.clone())
        })
    });
    populations.collect()
}

/// The time in which a rate changes if the run ends by a number of messages.
const RAMP: Duration = Duration::from_secs(10);

/// The first flag that describes messages.
fn first_message_flag(arguments: &Load) -> Option<&'static str> {
    [
        (arguments.size.is_some(), "--size"),
        (arguments.message.is_some(), "--message"),
        (arguments.messages_from.is_some(), "--messages-from"),
        (arguments.unicode, "--unicode"),
        (arguments.json, "--json"),
        (arguments.binary, "--binary"),
    ]
    .into_iter()
    .find_map(|(is_given, flag)| is_given.then_some(flag))
}

/// Adds the addresses of `--resolve` to the servers.
fn add_addresses(targets: &mut [Target], given: &[(String, SocketAddr)]) -> Result<(), PlanFailure> {
    for target in &mut *targets {
        let addresses = addresses_of(&target.url, given);
        if !addresses.is_empty() {
            target.addresses = addresses;
        }
    }
    let is_used = |address: &(String, SocketAddr)| {
        targets.iter().any(|target| !addresses_of(&target.url, std::slice::from_ref(address)).is_empty())
    };
    match given.iter().find(|address| !is_used(address)) {
        Some((host, address)) => Err(PlanFailure::Usage(format!(
            "--resolve {host}:{}:{}: no URL has this host and port; give those of a URL",
            address.port(),
            address.ip()
        ))),
        None => Ok(()),
    }
}

/// The options of TLS: those of the flags, of the scenario, or the defaults.
fn replace_tls(plan: &mut Plan, arguments: &Load) -> Result<(), PlanFailure> {
    if arguments.tls.first_flag().is_some() || plan.offer.tls.is_none() {
        let secure = plan.targets.iter().find(|target| target.is_secure());
        let url = secure.or(plan.targets.first()).map_or("", |target| target.url.as_str());
        plan.offer.tls = arguments.tls.client(url)?;
    }
    Ok(())
}

/// What connections offer: a header of the flags replaces that of the scenario.
fn replace_offer(plan: &mut Plan, arguments: &Load) -> Result<(), PlanFailure> {
    let headers = arguments.offer.headers()?;
    let offer = &mut plan.offer;
    let given = &arguments.offer;
    if given.origin.is_some() || headers.contains_key("origin") {
        offer.headers.remove("origin");
        offer.origin = given.origin.clone();
    }
    for name in headers.keys() {
        offer.headers.remove(name);
    }
    for (name, value) in &headers {
        offer.headers.append(name.clone(), value.clone());
    }
    if !given.subprotocol.is_empty() {
        offer.subprotocols.clone_from(&given.subprotocol);
    }
    set(&mut offer.deflate, arguments.deflate.map(crate::choices::DeflateMode::config));
    Ok(())
}

/// What is sent.
fn content(arguments: &Load) -> Result<Content, PlanFailure> {
    let kind = if arguments.binary { ringway::MessageKind::Binary } else { ringway::MessageKind::Text };
    let content = if let Some(path) = &arguments.replay {
        Content::recording(path)
    } else if let Some(message) = &arguments.message {
        match arguments.binary {
            true => Literal::from_argument(message, kind).map(Content::Literal),
            false => Content::template(message),
        }
    } else if let Some(path) = &arguments.messages_from {
        let format = if arguments.binary { RecordFormat::Prefixed } else { RecordFormat::Lines };
        Content::records(path, format, RecordOrder::RoundRobin, kind)
    } else {
        let sizes = arguments.size.clone().map_or_else(|| Sizes::fixed(64), Ok).map_err(|error| error.to_string())?;
        Ok(match (arguments.json, arguments.binary, arguments.unicode) {
            (true, _, _) => Content::Json(sizes),
            (_, true, _) => Content::Random { sizes, alphabet: Alphabet::Binary },
            (_, _, true) => Content::Random { sizes, alphabet: Alphabet::Mixed },
            _ => Content::Random { sizes, alphabet: Alphabet::Ascii },
        })
    };
    let flag = match (&arguments.message, &arguments.messages_from) {
        _ if arguments.replay.is_some() => "--replay: ",
        (Some(_), _) => "--message: ",
        (None, Some(_)) => "--messages-from: ",
        (None, None) => "",
    };
    let content = content.map_err(|error| format!("{flag}{error}"))?;
    content.check().map_err(|error| error.to_string())?;
    Ok(content)
}

#[cfg(test)]
mod tests;
