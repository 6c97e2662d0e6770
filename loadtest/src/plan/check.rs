//! The checks of a plan: each value has a range, and so have the sums of memory.

use super::{
    Behaviour, FRAME_HEADER, Load, MAX_BYTES_IN_FLIGHT, MAX_CONNECTIONS, MAX_DATAGRAM, MAX_HANDSHAKES, MAX_IN_FLIGHT,
    MAX_POPULATIONS, MAX_SIZE, MAX_SOURCES, MAX_TARGETS, MAX_THREADS, MAX_TIME, MAX_TOTAL_IN_FLIGHT, MAX_TOTAL_SIZE,
    MAX_WEIGHT, Plan, PlanError, Population, RunLength, Transport,
};
use crate::broadcast::{HEAD, MAX_PAIRS};
use crate::message::Content;
use crate::recording::Speed;
use crate::worker::nanos;
use std::time::Duration;

/// The shortest interval of pings, and the shortest time to wait.
const MIN_TIME: Duration = Duration::from_millis(1);

/// The maximum number of connections to open per second.
const MAX_CONNECT_RATE: f64 = 1e9;

/// The memory that each message in flight takes besides its bytes.
const ENTRY: usize = 32;

/// The maximum length of a population's name in characters.
const MAX_NAME: usize = 64;

/// Checks a plan.
pub(super) fn check(plan: &Plan) -> Result<(), PlanError> {
    check_targets(plan)?;
    check_populations(plan)?;
    check_transport(plan)?;
    if let Some(threads) = plan.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
        return Err(PlanError::Threads(threads));
    }
    // A rate that is not a number is not above 0.
    if let Some(rate) = plan.connect.rate.filter(|rate| !(*rate > 0.0 && *rate <= MAX_CONNECT_RATE)) {
        return Err(PlanError::ConnectRate(rate));
    }
    if let Some(handshakes) = plan.connect.concurrency.filter(|handshakes| !(1..=MAX_HANDSHAKES).contains(handshakes)) {
        return Err(PlanError::Handshakes(handshakes));
    }
    if plan.connect.sources.len() > MAX_SOURCES {
        return Err(PlanError::Sources(plan.connect.sources.len()));
    }
    check_time("the time that a connection may take to open", plan.connect.timeout, MIN_TIME)?;
    check_time("the time to wait for a reply", plan.timeout, MIN_TIME)?;
    check_time("the warm-up", plan.warmup(), Duration::ZERO)?;
    if !(0.0..=1.0).contains(&plan.max_errors) {
        return Err(PlanError::MaxErrors(plan.max_errors));
    }
    match plan.length {
        RunLength::Time(time) => check_time("the duration", time, MIN_TIME)?,
        RunLength::Messages(0) => return Err(PlanError::NoMessages),
        RunLength::Messages(_) if !plan.populations.iter().any(|population| population.behaviour.sends()) => {
            return Err(PlanError::NothingToCount);
        }
        RunLength::Messages(_) => {}
    }
    // The length of the run is valid.
    in_populations(plan, |population| check_offered(plan, population))
}

fn check_targets(plan: &Plan) -> Result<(), PlanError> {
    match plan.targets.len() {
        0 => return Err(PlanError::NoTargets),
        1..=MAX_TARGETS => {}
        many => return Err(PlanError::TooManyTargets(many)),
    }
    match plan.targets.iter().find(|target| !(1..=MAX_WEIGHT).contains(&target.weight)) {
        Some(target) => Err(PlanError::Weight(target.url.clone(), target.weight)),
        None => Ok(()),
    }
}

/// Checks what has no meaning without WebSockets.
fn check_transport(plan: &Plan) -> Result<(), PlanError> {
    let transport = plan.transport();
    if let Some(other) = plan.targets.iter().find(|target| target.transport() != transport) {
        return Err(PlanError::Transports(plan.targets[0].url.clone(), other.url.clone()));
    }
    if transport == Transport::WebSocket {
        return Ok(());
    }
    let offer = &plan.offer;
    let given = [
        (!offer.headers.is_empty(), "headers (-H)"),
        (offer.origin.is_some(), "origin (--origin)"),
        (!offer.subprotocols.is_empty(), "subprotocols (--subprotocol)"),
        (offer.deflate.is_some(), "compression (--deflate)"),
    ];
    if let Some((_, what)) = given.into_iter().find(|(is_given, _)| *is_given) {
        return Err(PlanError::TransportOption { transport, what });
    }
    in_populations(plan, |population| {
        let (mode, modes) = (
            &population.behaviour,
            match transport {
                Transport::Udp => "echo and request",
                _ => "echo, request, connect and churn",
            },
        );
        let is_possible = match mode {
            Behaviour::Echo | Behaviour::Request { .. } => true,
            Behaviour::Connect | Behaviour::Churn { .. } => transport == Transport::Tcp,
            _ => false,
        };
        if !is_possible {
            return Err(PlanError::TransportMode { transport, modes, mode: mode.name() });
        }
        match population.message.max_len() {
            largest if transport == Transport::Udp && largest > MAX_DATAGRAM => Err(PlanError::Datagram(largest)),
            _ if transport == Transport::Tcp && population.message.min_len() == 0 => Err(PlanError::EmptyMessages),
            _ => Ok(()),
        }
    })
}

fn check_populations(plan: &Plan) -> Result<(), PlanError> {
    match plan.populations.len() {
        0 => return Err(PlanError::NoPopulations),
        1..=MAX_POPULATIONS => {}
        many => return Err(PlanError::TooManyPopulations(many)),
    }
    for (index, population) in plan.populations.iter().enumerate() {
        let name = &population.name;
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(PlanError::Name(name.clone()));
        }
        if plan.populations[..index].iter().any(|other| other.name == *name) {
            return Err(PlanError::SameName(name.clone()));
        }
    }
    in_populations(plan, check_population)?;
    let connections: u64 = plan.populations.iter().map(|population| u64::from(population.connections)).sum();
    if connections > MAX_CONNECTIONS.into() {
        return Err(PlanError::TooManyConnections(connections));
    }
    // Each thread has a block of random bytes for each population.
    let sizes = plan.populations.iter().map(|population| population.message.max_len()).sum();
    if sizes > MAX_TOTAL_SIZE {
        return Err(PlanError::TotalSize(sizes));
    }
    let in_flight =
        plan.populations.iter().fold(0usize, |sum, population| sum.saturating_add(bytes_in_flight(population)));
    if in_flight > MAX_TOTAL_IN_FLIGHT {
        return Err(PlanError::TotalInFlight(in_flight));
    }
    Ok(())
}

/// Checks each population; an error has the name of its population if there are several.
fn in_populations(plan: &Plan, check: impl Fn(&Population) -> Result<(), PlanError>) -> Result<(), PlanError> {
    plan.populations.iter().try_for_each(|population| {
        check(population).map_err(|error| match plan.populations.len() {
            1 => error,
            _ => PlanError::Population { name: population.name.clone(), error: Box::new(error) },
        })
    })
}

fn check_population(population: &Population) -> Result<(), PlanError> {
    let Population { name, connections, behaviour, load, message } = population;
    if *connections == 0 {
        return Err(PlanError::NoConnections(name.clone()));
    }
    let largest = message.max_len();
    if largest > MAX_SIZE {
        return Err(PlanError::Size(largest));
    }
    message.check().map_err(|error| PlanError::Content(error.to_string()))?;
    match (load, behaviour) {
        (Load::Closed { in_flight }, _) if !(1..=MAX_IN_FLIGHT).contains(in_flight) => {
            return Err(PlanError::InFlight(*in_flight));
        }
        (Load::Closed { in_flight: 2.. }, _) if !behaviour.has_pipeline() => {
            return Err(PlanError::NoPipeline(behaviour.name(), load.in_flight().unwrap_or(0)));
        }
        (Load::Closed { in_flight }, _)
            if behaviour.is_answered() && *in_flight as usize * (largest + FRAME_HEADER) > MAX_BYTES_IN_FLIGHT =>
        {
            return Err(PlanError::BytesInFlight { in_flight: *in_flight, largest });
        }
        (Load::Open { .. }, Behaviour::Replay { .. }) => return Err(PlanError::RecordedSchedule),
        (Load::Open { .. }, _) if !behaviour.has_schedule() => return Err(PlanError::NoSchedule(behaviour.name())),
        (Load::Closed { .. }, Behaviour::Broadcast { .. }) => return Err(PlanError::NeedsSchedule(behaviour.name())),
        _ => {}
    }
    match (message, behaviour) {
        (Content::Recording(script), Behaviour::Replay { speed: Speed::Times(_) }) if script.period().is_none() => {
            return Err(PlanError::NoTimes);
        }
        (Content::Recording(_), Behaviour::Replay { .. }) => {}
        (_, Behaviour::Replay { .. }) => return Err(PlanError::NoRecording),
        (Content::Recording(_), _) => return Err(PlanError::GivenRecording(behaviour.name())),
        _ => {}
    }
    match behaviour {
        Behaviour::Broadcast { publishers, .. } if !(1..=*connections).contains(publishers) => {
            Err(PlanError::Publishers(*publishers, *connections))
        }
        Behaviour::Broadcast { .. } if *connections == 1 => Err(PlanError::NoReaders),
        Behaviour::Broadcast { publishers, .. } if u64::from(*publishers) * u64::from(*connections) > MAX_PAIRS => {
            Err(PlanError::Pairs { publishers: *publishers, connections: *connections })
        }
        Behaviour::Broadcast { .. } => match message {
            Content::Random { sizes, .. } if sizes.min() >= HEAD => Ok(()),
            Content::Random { sizes, .. } => Err(PlanError::NoHead(sizes.min())),
            _ => Err(PlanError::GivenContent),
        },
        Behaviour::Slow { bytes_per_second: 0 } => Err(PlanError::NoBytes),
        Behaviour::Idle { ping: Some(interval) } => check_time("the interval of pings", *interval, MIN_TIME),
        Behaviour::Request { think } => think.check().map_err(|error| PlanError::Span("the think time", error)),
        Behaviour::Churn { lifetime, pause } => {
            lifetime.check().map_err(|error| PlanError::Span("the lifetime", error))?;
            pause.check().map_err(|error| PlanError::Span("the pause", error))
        }
        _ => Ok(()),
    }
}

/// Checks that an open loop offers messages within the run.
fn check_offered(plan: &Plan, population: &Population) -> Result<(), PlanError> {
    let Load::Open { schedule, .. } = &population.load else { return Ok(()) };
    let end = match plan.length {
        RunLength::Time(time) => nanos(plan.warmup() + time),
        RunLength::Messages(_) => u64::MAX,
    };
    if schedule.offered(0, end) > 0.0 { Ok(()) } else { Err(PlanError::NothingOffered) }
}

/// The bytes that the messages in flight of a population can take.
fn bytes_in_flight(population: &Population) -> usize {
    let Load::Closed { in_flight } = population.load else { return 0 };
    if !population.behaviour.is_answered() {
        return 0;
    }
    let each = population.message.max_len() + FRAME_HEADER + ENTRY;
    (population.connections as usize).saturating_mul(in_flight as usize).saturating_mul(each)
}

/// Checks that a time is from `min` to a year.
fn check_time(what: &'static str, time: Duration, min: Duration) -> Result<(), PlanError> {
    if (min..=MAX_TIME).contains(&time) { Ok(()) } else { Err(PlanError::Time { what, time, min }) }
}

#[cfg(test)]
mod tests;
