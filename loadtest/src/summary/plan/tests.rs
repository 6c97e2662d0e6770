use super::*;
use crate::message::{Literal, RecordFormat, Records, Script, Template};
use crate::pace::Schedule;
use crate::plan::Offer;
use ringway::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

fn json_of(plan: &Plan) -> Value {
    let assignment = Assignment::unpinned(NonZero::new(2).expect("not 0"));
    let figures = PlanFigures::new(plan, 7, 64, "epoll".into(), &assignment);
    serde_json::to_value(figures).expect("all keys are strings")
}

/// The population in the report.
fn population(population: Population) -> Value {
    let mut plan = Plan::new("ws://a/");
    plan.populations = vec![population];
    json_of(&plan)["populations"][0].clone()
}

#[test]
fn each_behaviour_has_its_values() {
    let second = Duration::from_secs(1);
    let fixed = |seconds: f64| json!({ "distribution": "fixed", "seconds": seconds });
    for (behaviour, expected) in [
        (Behaviour::Echo, json!({ "kind": "echo" })),
        (
            Behaviour::Request { think: Span::Uniform(second, 3 * second) },
            json!({
                "kind": "request",
                "think": { "distribution": "uniform", "min_seconds": 1.0, "max_seconds": 3.0 }
            }),
        ),
        (Behaviour::Send, json!({ "kind": "send" })),
        (Behaviour::Replay { speed: Speed::Times(0.5) }, json!({ "kind": "replay", "speed": 0.5 })),
        (Behaviour::Replay { speed: Speed::Max }, json!({ "kind": "replay", "speed": null })),
        (Behaviour::Receive, json!({ "kind": "receive" })),
        (Behaviour::Idle { ping: None }, json!({ "kind": "idle", "ping_seconds": null })),
        (Behaviour::Idle { ping: Some(second / 2) }, json!({ "kind": "idle", "ping_seconds": 0.5 })),
        (Behaviour::Connect, json!({ "kind": "connect" })),
        (
            Behaviour::Broadcast { publishers: 3, topic: None },
            json!({ "kind": "broadcast", "publishers": 3, "topic": null }),
        ),
        (
            Behaviour::Churn { lifetime: Span::Exponential(2 * second), pause: Span::Fixed(second) },
            json!({
                "kind": "churn",
                "lifetime": { "distribution": "exponential", "mean_seconds": 2.0 },
                "pause": fixed(1.0)
            }),
        ),
        (
            Behaviour::Request { think: Span::Lognormal { median: second, sigma: 0.8 } },
            json!({
                "kind": "request",
                "think": { "distribution": "lognormal", "median_seconds": 1.0, "sigma": 0.8 }
            }),
        ),
        (Behaviour::Slow { bytes_per_second: 9 }, json!({ "kind": "slow", "bytes_per_second": 9 })),
    ] {
        let (sends, found) = (behaviour.sends(), population(Population::new(behaviour)));
        assert_eq!(found["behaviour"], expected);
        assert_eq!((found["load"].is_object(), found["message"].is_object()), (sends, sends), "{found}");
    }
}

#[test]
fn a_load_has_its_messages_in_flight_or_its_stages() {
    let closed = |behaviour| {
        let load = Load::Closed { in_flight: 16 };
        population(Population { load, ..Population::new(behaviour) })["load"].clone()
    };
    assert_eq!(closed(Behaviour::Echo), json!({ "loop": "closed", "in_flight": 16 }));
    assert_eq!(closed(Behaviour::Send), json!({ "loop": "closed", "in_flight": null }));
    assert_eq!(closed(Behaviour::Connect), json!({ "loop": "closed", "in_flight": 1 }));
    let schedule = Schedule::ramp(10.0, 30.0, Duration::from_millis(1500));
    let load = Load::Open { schedule, arrivals: Arrivals::Poisson };
    let expected = json!({
        "loop": "open",
        "arrivals": "poisson",
        "stages": [
            { "start_seconds": 0.0, "end_seconds": 1.5, "from_per_second": 10.0, "to_per_second": 30.0 },
            { "start_seconds": 1.5, "end_seconds": null, "from_per_second": 30.0, "to_per_second": 30.0 }
        ]
    });
    assert_eq!(population(Population { load, ..Population::default() })["load"], expected);
}

#[test]
fn messages_are_described_so_that_they_can_be_sent_again() {
    let sizes: Sizes = "20:7,1K-2K:3".parse().expect("sizes");
    let list = json!([
        { "min_bytes": 20, "max_bytes": 20, "weight": 7 },
        { "min_bytes": 1024, "max_bytes": 2048, "weight": 3 }
    ]);
    let template = |text: &str| Content::Template(Arc::new(text.parse::<Template>().expect("a template")));
    let long = "x".repeat(MAX_TEXT + 1);
    let records = Records::parse(b"one\nthree".to_vec(), RecordFormat::Lines, MessageKind::Text).expect("two lines");
    for (message, expected) in [
        (
            Content::Random { sizes: sizes.clone(), alphabet: Alphabet::Binary },
            json!({ "kind": "binary", "max_bytes": 2048, "content": "random", "alphabet": "binary", "sizes": list }),
        ),
        (Content::Json(sizes), json!({ "kind": "text", "max_bytes": 2048, "content": "json", "sizes": list })),
        (
            template("{seq}: {{"),
            json!({ "kind": "text", "max_bytes": 13, "content": "template", "template": "{seq}: {{" }),
        ),
        (template(&long), json!({ "kind": "text", "max_bytes": 4097, "content": "template", "template": null })),
        (
            Content::Records { records: Arc::new(records), order: RecordOrder::Random },
            json!({ "kind": "text", "max_bytes": 5, "content": "records", "records": 2, "order": "random" }),
        ),
        (
            Content::Literal(Literal::text("hi").expect("short")),
            json!({ "kind": "text", "max_bytes": 2, "content": "literal", "text": "hi" }),
        ),
        (
            Content::Literal(Literal::binary(b"hi").expect("short")),
            json!({ "kind": "binary", "max_bytes": 2, "content": "literal", "text": null }),
        ),
    ] {
        assert_eq!(population(Population { message, ..Population::default() })["message"], expected);
    }
}

#[test]
fn secrets_are_not_in_the_report() {
    let mut headers = HeaderMap::new();
    for (name, value) in [("cookie", "session=secret"), ("authorization", "Bearer secret"), ("x-a", "secret")] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let offer = Offer { headers, origin: Some("https://a".into()), ..Offer::default() };
    let plan = json_of(&Plan { offer, ..Plan::new("ws://a/") });
    assert_eq!((&plan["headers"], &plan["origin"]), (&json!(["authorization", "cookie", "x-a"]), &"https://a".into()));
    assert!(!plan.to_string().contains("secret"), "{plan}");
}

#[test]
fn the_rest_of_the_plan_is_as_it_was_given() {
    let plan = json_of(&Plan::new("ws://a/"));
    assert_eq!(
        (&plan["cores"], &plan["busy_poll"], &plan["busy_poll_us"]),
        (&"all".into(), &"adaptive".into(), &Value::Null)
    );
    assert_eq!((&plan["seed"], &plan["threads"], &plan["deflate"]), (&7.into(), &2.into(), &Value::Null));
    let given = Plan {
        cores: Cores::List(vec![1, 3]),
        busy_poll: BusyPoll::Fixed(Duration::from_micros(20)),
        offer: Offer { deflate: Some(Deflate::shared()), ..Offer::default() },
        length: RunLength::Messages(5),
        ..Plan::new("ws://a/")
    };
    let plan = json_of(&given);
    assert_eq!(plan["cores"], json!([1, 3]));
    assert_eq!((&plan["busy_poll"], &plan["busy_poll_us"]), (&"fixed".into(), &20.0.into()));
    assert_eq!((&plan["deflate"], &plan["messages"]), (&"shared".into(), &5.into()));
    assert_eq!((&plan["duration_seconds"], &plan["warmup_seconds"]), (&Value::Null, &0.0.into()));
}

#[test]
fn a_recording_has_its_messages_and_its_period() {
    let line = r#"{"time":1,"type":"text","data":"ab"}"#;
    for (more, kind, period) in [
        (r#"{"time":3,"type":"binary","data":"c"}"#, "mixed", json!(4.0)),
        (r#"{"time":2,"type":"text","data":"c"}"#, "text", json!(2.0)),
    ] {
        let script = Script::parse(format!("{line}\n{more}\n").as_bytes()).expect("a recording");
        let message = Content::Recording(Arc::new(script));
        let replay = Population { message, ..Population::new(Behaviour::Replay { speed: Speed::default() }) };
        assert_eq!(
            population(replay)["message"],
            json!({ "kind": kind, "max_bytes": 2, "content": "recording", "messages": 2, "period_seconds": period })
        );
    }
}
