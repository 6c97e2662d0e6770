//! The checks of a plan.

use super::{
    Behaviour, FRAME_HEADER, Load, MAX_BYTES_IN_FLIGHT, MAX_HANDSHAKES, MAX_IN_FLIGHT, MAX_SIZE, Plan, Population,
    RunLength,
};
use crate::broadcast::{HEAD, MAX_PAIRS};
use crate::message::Content;
use crate::units::size;

/// The error of an invalid plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No server.
    #[error("a load needs at least 1 server")]
    NoTargets,
    /// A target with weight 0.
    #[error("the weight of {0} is 0: give at least 1, or leave the server out")]
    NoWeight(String),
    /// No populations.
    #[error("a load needs at least 1 population")]
    NoPopulations,
    /// Two populations of one name.
    #[error("two populations are named {0:?}: give each a name of its own")]
    SameName(String),
    /// No connections.
    #[error("{0}: a load needs at least 1 connection")]
    NoConnections(String),
    /// More connections than can be counted.
    #[error("more than {} connections in all", u32::MAX)]
    TooManyConnections,
    /// No threads.
    #[error("a load needs at least 1 thread")]
    NoThreads,
    /// A number of messages in flight out of range.
    #[error("{0} messages in flight on each connection: give 1 to {MAX_IN_FLIGHT}")]
    InFlight(u32),
    /// Messages that are too large.
    #[error("messages of up to {}: give sizes up to {}", size(*.0), size(MAX_SIZE))]
    Size(usize),
    /// More bytes in flight than one connection can have.
    #[error(
        "{in_flight} messages of up to {} in flight on each connection: give fewer or smaller ones, together below {}",
        size(*.largest), size(MAX_BYTES_IN_FLIGHT)
    )]
    BytesInFlight {
        /// The messages in flight.
        in_flight: u32,
        /// The length of the largest one.
        largest: usize,
    },
    /// A schedule for connections that send nothing.
    #[error("{0} connections send no messages at times of their own: a rate does not apply to them")]
    NoSchedule(&'static str),
    /// A behaviour that needs a schedule.
    #[error("{0} needs the rate at which messages are published (-R)")]
    NeedsSchedule(&'static str),
    /// Publishers out of range.
    #[error("{0} publishers of {1} connections: give 1 to {1}")]
    Publishers(u32, u32),
    /// Nobody but the publisher.
    #[error(
        "a broadcast of 1 connection has no readers, because a publisher's own copy does not count: give at least 2"
    )]
    NoReaders,
    /// More pairs of publishers and readers than are tracked.
    #[error(
        "{publishers} publishers and {connections} connections: give fewer, so that their product is at most \
         {MAX_PAIRS}; the order of messages is tracked for each pair"
    )]
    Pairs {
        /// The publishers.
        publishers: u32,
        /// The connections.
        connections: u32,
    },
    /// Published messages without room for their head.
    #[error("a broadcast of messages of {0} B: give at least {HEAD} B, which identify a message (-s)")]
    NoHead(usize),
    /// Published messages of given content.
    #[error(
        "a broadcast writes {HEAD} bytes that identify a message in front of it, so it takes random content only: \
         give a size (-s), with -b or --unicode if needed, instead of a message or a file"
    )]
    GivenContent,
    /// No bytes per second.
    #[error("slow connections need a rate of at least 1 byte per second")]
    NoBytes,
    /// A connect rate of zero or less.
    #[error("the rate of connecting must be above 0")]
    ConnectRate,
    /// A number of handshakes in progress out of range.
    #[error("{0} handshakes in progress at a time: give 1 to {MAX_HANDSHAKES}")]
    Handshakes(u32),
    /// No time to connect in.
    #[error("the time that a connection may take to open must be above 0")]
    ConnectTimeout,
    /// No time to wait for a reply.
    #[error("the time to wait for a reply must be above 0")]
    NoTimeout,
    /// A share of errors out of range.
    #[error("the share of errors up to which a run succeeds is from 0 to 100 %")]
    MaxErrors,
    /// No time to measure in.
    #[error("the duration must be above 0")]
    NoTime,
    /// No messages to measure.
    #[error("the number of messages must be above 0")]
    NoMessages,
    /// A run that sends no messages cannot end by a number of them.
    #[error("these connections send no messages: give a duration instead of a number of messages")]
    NothingToCount,
}

/// Checks a plan.
pub(super) fn check(plan: &Plan) -> Result<(), PlanError> {
    if plan.targets.is_empty() {
        return Err(PlanError::NoTargets);
    }
    if let Some(target) = plan.targets.iter().find(|target| target.weight == 0) {
        return Err(PlanError::NoWeight(target.url.clone()));
    }
    if plan.populations.is_empty() {
        return Err(PlanError::NoPopulations);
    }
    for (index, population) in plan.populations.iter().enumerate() {
        if plan.populations[..index].iter().any(|other| other.name == population.name) {
            return Err(PlanError::SameName(population.name.clone()));
        }
        check_population(population)?;
    }
    if plan.populations.iter().map(|population| u64::from(population.connections)).sum::<u64>() > u32::MAX.into() {
        return Err(PlanError::TooManyConnections);
    }
    if plan.threads == Some(0) {
        return Err(PlanError::NoThreads);
    }
    if plan.connect.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(PlanError::ConnectRate);
    }
    if let Some(handshakes) = plan.connect.concurrency.filter(|handshakes| !(1..=MAX_HANDSHAKES).contains(handshakes)) {
        return Err(PlanError::Handshakes(handshakes));
    }
    if plan.connect.timeout.is_zero() {
        return Err(PlanError::ConnectTimeout);
    }
    if plan.timeout.is_zero() {
        return Err(PlanError::NoTimeout);
    }
    if !(0.0..=1.0).contains(&plan.max_errors) {
        return Err(PlanError::MaxErrors);
    }
    match plan.length {
        RunLength::Time(time) if time.is_zero() => Err(PlanError::NoTime),
        RunLength::Messages(0) => Err(PlanError::NoMessages),
        RunLength::Messages(_) if !plan.populations.iter().any(|population| population.behaviour.sends()) => {
            Err(PlanError::NothingToCount)
        }
        _ => Ok(()),
    }
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
    match (load, behaviour) {
        (Load::Closed { in_flight }, _) if !(1..=MAX_IN_FLIGHT).contains(in_flight) => {
            return Err(PlanError::InFlight(*in_flight));
        }
        (Load::Closed { in_flight }, _)
            if behaviour.is_answered() && *in_flight as usize * (largest + FRAME_HEADER) > MAX_BYTES_IN_FLIGHT =>
        {
            return Err(PlanError::BytesInFlight { in_flight: *in_flight, largest });
        }
        (
            Load::Open { .. },
            Behaviour::Request { .. } | Behaviour::Receive | Behaviour::Idle { .. } | Behaviour::Slow { .. },
        ) => {
            return Err(PlanError::NoSchedule(behaviour.name()));
        }
        (Load::Closed { .. }, Behaviour::Broadcast { .. }) => return Err(PlanError::NeedsSchedule(behaviour.name())),
        _ => {}
    }
    match behaviour {
        Behaviour::Broadcast { publishers } if !(1..=*connections).contains(publishers) => {
            Err(PlanError::Publishers(*publishers, *connections))
        }
        Behaviour::Broadcast { .. } if *connections == 1 => Err(PlanError::NoReaders),
        Behaviour::Broadcast { publishers } if u64::from(*publishers) * u64::from(*connections) > MAX_PAIRS => {
            Err(PlanError::Pairs { publishers: *publishers, connections: *connections })
        }
        Behaviour::Broadcast { .. } => match message {
            Content::Random { sizes, .. } if sizes.min() >= HEAD => Ok(()),
            Content::Random { sizes, .. } => Err(PlanError::NoHead(sizes.min())),
            _ => Err(PlanError::GivenContent),
        },
        Behaviour::Slow { bytes_per_second: 0 } => Err(PlanError::NoBytes),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Target;
    use std::time::Duration;

    fn plan() -> Plan {
        Plan::new("ws://127.0.0.1:9/")
    }

    /// The plan with a changed population.
    fn with(change: impl FnOnce(&mut Population)) -> Plan {
        let mut plan = plan();
        change(&mut plan.populations[0]);
        plan
    }

    #[test]
    fn the_defaults_are_a_plan() {
        assert_eq!(plan().check(), Ok(()));
    }

    #[test]
    fn an_invalid_plan_is_refused() {
        let closed = |in_flight| Load::Closed { in_flight };
        for (plan, error) in [
            (Plan { targets: vec![], ..plan() }, PlanError::NoTargets),
            (
                Plan { targets: vec![Target { weight: 0, ..Target::new("ws://a/") }], ..plan() },
                PlanError::NoWeight("ws://a/".into()),
            ),
            (Plan { populations: vec![], ..plan() }, PlanError::NoPopulations),
            (
                Plan { populations: vec![Population::default(), Population::default()], ..plan() },
                PlanError::SameName("echo".into()),
            ),
            (with(|echo| echo.connections = 0), PlanError::NoConnections("echo".into())),
            (Plan { threads: Some(0), ..plan() }, PlanError::NoThreads),
            (with(|echo| echo.load = closed(0)), PlanError::InFlight(0)),
            (with(|echo| echo.load = closed(MAX_IN_FLIGHT + 1)), PlanError::InFlight(MAX_IN_FLIGHT + 1)),
            (with(|all| all.behaviour = Behaviour::Broadcast { publishers: 1 }), PlanError::NeedsSchedule("broadcast")),
            (with(|slow| slow.behaviour = Behaviour::Slow { bytes_per_second: 0 }), PlanError::NoBytes),
            (Plan { max_errors: 1.1, ..plan() }, PlanError::MaxErrors),
            (Plan { timeout: Duration::ZERO, ..plan() }, PlanError::NoTimeout),
            (Plan { length: RunLength::Time(Duration::ZERO), ..plan() }, PlanError::NoTime),
            (Plan { length: RunLength::Messages(0), ..plan() }, PlanError::NoMessages),
            (
                Plan { length: RunLength::Messages(1), ..with(|idle| idle.behaviour = Behaviour::Idle { ping: None }) },
                PlanError::NothingToCount,
            ),
        ] {
            assert_eq!(plan.check(), Err(error));
        }
        for (rate, handshakes, timeout, error) in [
            (Some(0.0), None, 1, PlanError::ConnectRate),
            (Some(f64::NAN), None, 1, PlanError::ConnectRate),
            (None, Some(0), 1, PlanError::Handshakes(0)),
            (None, None, 0, PlanError::ConnectTimeout),
        ] {
            let mut plan = plan();
            plan.connect.rate = rate;
            plan.connect.concurrency = handshakes;
            plan.connect.timeout = Duration::from_secs(timeout);
            assert_eq!(plan.check(), Err(error));
        }
    }
}
