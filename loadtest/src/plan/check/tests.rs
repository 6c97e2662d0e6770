use super::*;
use crate::lifetime::{Span, SpanError};
use crate::message::{Alphabet, Script, Sizes};
use crate::pace::{Arrivals, Schedule};
use crate::plan::Target;
use std::sync::Arc;

const SECOND: Duration = Duration::from_secs(1);

fn plan() -> Plan {
    Plan::new("ws://127.0.0.1:9/")
}

/// The plan with a changed population.
fn with(change: impl FnOnce(&mut Population)) -> Plan {
    let mut plan = plan();
    change(&mut plan.populations[0]);
    plan
}

/// The plan with a population of this behaviour.
fn of(behaviour: Behaviour) -> Plan {
    with(|population| population.behaviour = behaviour)
}

fn closed(in_flight: u32) -> Load {
    Load::Closed { in_flight }
}

fn open(rate: f64) -> Load {
    Load::Open { schedule: Schedule::constant(rate), arrivals: Arrivals::Uniform }
}

fn random(sizes: &str) -> Content {
    Content::Random { sizes: sizes.parse().expect("sizes"), alphabet: Alphabet::Ascii }
}

/// The text of the error.
fn says(plan: &Plan) -> String {
    plan.check().expect_err("the plan is invalid").to_string()
}

#[test]
fn the_defaults_are_a_plan() {
    assert_eq!(plan().check(), Ok(()));
}

#[test]
fn targets_have_weights_in_range() {
    assert_eq!(Plan { targets: vec![], ..plan() }.check(), Err(PlanError::NoTargets));
    let many = vec![Target::new("ws://a/"); MAX_TARGETS + 1];
    assert_eq!(Plan { targets: many, ..plan() }.check(), Err(PlanError::TooManyTargets(1025)));
    for weight in [0, MAX_WEIGHT + 1] {
        let targets = vec![Target { weight, ..Target::new("ws://a/") }];
        let error = says(&Plan { targets, ..plan() });
        assert_eq!(error, format!("the weight of ws://a/ is {weight}: give 1 to 1000000, or leave the server out"));
    }
}

#[test]
fn populations_have_names_of_their_own() {
    assert_eq!(Plan { populations: vec![], ..plan() }.check(), Err(PlanError::NoPopulations));
    let many = vec![Population::default(); MAX_POPULATIONS + 1];
    assert_eq!(Plan { populations: many, ..plan() }.check(), Err(PlanError::TooManyPopulations(65)));
    let twice = Plan { populations: vec![Population::default(), Population::default()], ..plan() };
    assert_eq!(twice.check(), Err(PlanError::SameName("echo".into())));
    for name in [String::new(), "x".repeat(65), "a\u{1b}[2J".into()] {
        assert_eq!(with(|population| population.name = name.clone()).check(), Err(PlanError::Name(name)));
    }
}

#[test]
fn an_error_names_its_population_if_there_are_several() {
    let mut plan = with(|population| population.load = closed(0));
    assert_eq!(says(&plan), "0 messages in flight on each connection: give 1 to 65536");
    plan.populations.insert(0, Population::new(Behaviour::Receive));
    assert_eq!(says(&plan), "echo: 0 messages in flight on each connection: give 1 to 65536");
}

#[test]
fn counts_have_ranges() {
    for (plan, error) in [
        (with(|echo| echo.connections = 0), PlanError::NoConnections("echo".into())),
        (with(|echo| echo.connections = u32::MAX), PlanError::TooManyConnections(u32::MAX.into())),
        (Plan { threads: Some(0), ..plan() }, PlanError::Threads(0)),
        (Plan { threads: Some(usize::MAX), ..plan() }, PlanError::Threads(usize::MAX)),
        (with(|echo| echo.load = closed(0)), PlanError::InFlight(0)),
        (with(|echo| echo.load = closed(MAX_IN_FLIGHT + 1)), PlanError::InFlight(MAX_IN_FLIGHT + 1)),
        (Plan { max_errors: 1.1, ..plan() }, PlanError::MaxErrors(1.1)),
        (Plan { max_errors: -0.1, ..plan() }, PlanError::MaxErrors(-0.1)),
        (Plan { length: RunLength::Messages(0), ..plan() }, PlanError::NoMessages),
    ] {
        assert_eq!(plan.check(), Err(error));
    }
    for (rate, handshakes, sources, error) in [
        (Some(0.0), None, 0, "0 connections per second: give a rate above 0 and up to 1000000000"),
        (Some(-1.0), None, 0, "-1 connections per second: give a rate above 0 and up to 1000000000"),
        (Some(f64::NAN), None, 0, "NaN connections per second: give a rate above 0 and up to 1000000000"),
        (Some(f64::INFINITY), None, 0, "inf connections per second: give a rate above 0 and up to 1000000000"),
        (None, Some(0), 0, "0 handshakes in progress at a time: give 1 to 65536"),
        (None, None, MAX_SOURCES + 1, "65537 local addresses: give at most 65536"),
    ] {
        let mut plan = plan();
        plan.connect.rate = rate;
        plan.connect.concurrency = handshakes;
        plan.connect.sources = vec![[127, 0, 0, 1].into(); sources];
        assert_eq!(says(&plan), error);
    }
}

#[test]
fn a_share_of_errors_that_is_no_number_is_refused() {
    assert!(matches!(Plan { max_errors: f64::NAN, ..plan() }.check(), Err(PlanError::MaxErrors(_))));
}

#[test]
fn times_are_at_most_a_year() {
    let year = MAX_TIME + Duration::from_nanos(1);
    for time in [Duration::ZERO, year, Duration::MAX] {
        for plan in [
            Plan { timeout: time, ..plan() },
            Plan { length: RunLength::Time(time), ..plan() },
            of(Behaviour::Idle { ping: Some(time) }),
        ] {
            assert!(matches!(plan.check(), Err(PlanError::Time { .. })), "{time:?}");
        }
        let mut plan = plan();
        plan.connect.timeout = time;
        let error =
            format!("the time that a connection may take to open is {time:?}: give a time from 1ms to 365 days");
        assert_eq!(says(&plan), error);
    }
    assert!(Plan { warmup: Some(Duration::MAX), ..plan() }.check().is_err());
    assert_eq!(Plan { warmup: Some(Duration::ZERO), ..plan() }.check(), Ok(()));
    assert_eq!(Plan { warmup: Some(MAX_TIME), length: RunLength::Time(MAX_TIME), ..plan() }.check(), Ok(()));
}

#[test]
fn distributions_of_times_are_checked() {
    let think = |think| says(&of(Behaviour::Request { think }));
    let long = "the think time: 31536001s is longer than a year: give a time up to 365d";
    assert_eq!(think(Span::Fixed(MAX_TIME + SECOND)), long);
    let order = "the range \"2s-1s\" begins above its end: give the shorter time first, as 1s-10s";
    assert_eq!(think(Span::Uniform(2 * SECOND, SECOND)), format!("the think time: {order}"));
    for (lifetime, pause) in [
        (Span::Exponential(Duration::ZERO), Span::ZERO),
        (Span::Fixed(SECOND), Span::Lognormal { median: SECOND, sigma: f64::NAN }),
        (Span::Fixed(SECOND), Span::Lognormal { median: SECOND, sigma: f64::INFINITY }),
    ] {
        let error = of(Behaviour::Churn { lifetime, pause }).check().expect_err("it is invalid");
        assert!(matches!(error, PlanError::Span(_, SpanError::Zero(..) | SpanError::Sigma(_))), "{error}");
    }
}

#[test]
fn a_load_fits_its_behaviour() {
    let idle = Behaviour::Idle { ping: None };
    for (behaviour, load, error) in [
        (idle.clone(), open(1.0), PlanError::NoSchedule("idle")),
        (Behaviour::Request { think: Span::ZERO }, open(1.0), PlanError::NoSchedule("request")),
        (Behaviour::Broadcast { publishers: 1, topic: None }, closed(1), PlanError::NeedsSchedule("broadcast")),
        (Behaviour::Broadcast { publishers: 0, topic: None }, open(1.0), PlanError::Publishers(0, 50)),
        (Behaviour::Broadcast { publishers: 51, topic: None }, open(1.0), PlanError::Publishers(51, 50)),
        (Behaviour::Slow { bytes_per_second: 0 }, closed(1), PlanError::NoBytes),
        (Behaviour::Connect, closed(2), PlanError::NoPipeline("connect", 2)),
        (Behaviour::Receive, closed(16), PlanError::NoPipeline("receive", 16)),
        (Behaviour::Echo, open(0.0), PlanError::NothingOffered),
    ] {
        let mut plan = of(behaviour);
        plan.populations[0].load = load;
        assert_eq!(plan.check(), Err(error));
    }
    let count = Plan { length: RunLength::Messages(1), ..of(idle) };
    assert_eq!(count.check(), Err(PlanError::NothingToCount));
}

#[test]
fn a_schedule_that_begins_after_the_run_offers_nothing() {
    let late = Schedule::stages(0.0, &[(12 * SECOND, 0.0), (Duration::ZERO, 5.0)]);
    let mut plan = with(|echo| echo.load = Load::Open { schedule: late, arrivals: Arrivals::Poisson });
    assert_eq!(plan.check(), Err(PlanError::NothingOffered), "1 s of warm-up and 10 s of measuring");
    plan.length = RunLength::Messages(1);
    assert_eq!(plan.check(), Ok(()));
}

#[test]
fn content_is_checked() {
    let json: Sizes = "20".parse().expect("sizes");
    let error = says(&with(|echo| echo.message = Content::Json(json)));
    assert!(error.starts_with("JSON messages of 20 B: give sizes of at least "), "{error}");
    for (message, error) in [
        (random("23-64"), PlanError::NoHead(23)),
        (Content::template("x").expect("a template"), PlanError::GivenContent),
    ] {
        let mut plan = of(Behaviour::Broadcast { publishers: 1, topic: None });
        (plan.populations[0].load, plan.populations[0].message) = (open(1.0), message);
        assert_eq!(plan.check(), Err(error));
    }
}

#[test]
fn sums_of_memory_are_limited() {
    let mut plan = with(|echo| (echo.load, echo.message) = (closed(1024), random("1M")));
    let error =
        "1024 messages of up to 1 MiB in flight on each connection: give fewer or smaller ones, together below 1 GiB";
    assert_eq!(says(&plan), error);
    (plan.populations[0].load, plan.populations[0].connections) = (closed(512), 200);
    assert!(matches!(plan.check(), Err(PlanError::TotalInFlight(_))), "{:?}", plan.check());
    plan.populations[0].connections = 100;
    assert_eq!(plan.check(), Ok(()));
    // The sum of populations that are valid alone.
    plan.populations.push(Population { name: "other".into(), ..plan.populations[0].clone() });
    assert!(
        says(&plan).starts_with("the messages in flight on all connections take up to 100 GiB: "),
        "{}",
        says(&plan)
    );
    let large = |index: u32| Population {
        name: index.to_string(),
        connections: 1,
        message: random("64M"),
        ..Population::default()
    };
    let plan = Plan { populations: (0..17).map(large).collect(), ..plan };
    let error =
        "the largest messages of all populations take 1.06 GiB together: give sizes that add up to at most 1 GiB";
    assert_eq!(says(&plan), error);
}

#[test]
fn a_replay_has_a_recording_and_its_times() {
    let recording = |line: &str| Content::Recording(Arc::new(Script::parse(line.as_bytes()).expect("a recording")));
    let (timed, untimed) =
        (recording(r#"{"time":1,"type":"text","data":"a"}"#), recording(r#"{"type":"text","data":"a"}"#));
    let replay = |speed: Speed, content: &Content| {
        with(|population| {
            population.behaviour = Behaviour::Replay { speed };
            population.message = content.clone();
        })
    };
    for (speed, content) in [(Speed::default(), &timed), (Speed::Max, &timed), (Speed::Max, &untimed)] {
        assert_eq!(replay(speed, content).check(), Ok(()));
    }
    assert_eq!(replay(Speed::default(), &untimed).check(), Err(PlanError::NoTimes));
    assert_eq!(replay(Speed::Max, &Content::default()).check(), Err(PlanError::NoRecording));
    assert_eq!(with(|population| population.message = timed.clone()).check(), Err(PlanError::GivenRecording("echo")));
    let mut paced = replay(Speed::default(), &timed);
    paced.populations[0].load = open(5.0);
    assert_eq!(paced.check(), Err(PlanError::RecordedSchedule));
    paced.populations[0].load = closed(2);
    assert_eq!(paced.check(), Err(PlanError::NoPipeline("replay", 2)));
}
