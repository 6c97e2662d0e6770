use super::*;
use crate::lifetime::Span;
use crate::message::Content;
use crate::pace::Arrivals;
use crate::plan::{Behaviour, Load, Verify};
use crate::recording::Speed;
use std::net::IpAddr;

const SECOND: Duration = Duration::from_secs(1);

fn read(text: &str) -> Result<Plan, ScenarioError> {
    Scenario::parse(text, Path::new("s.toml"))?.plan()
}

fn plan(text: &str) -> Plan {
    read(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A scenario with one population, which has these keys.
fn population(keys: &str) -> String {
    format!("targets = [{{ url = \":9001\" }}]\n[[populations]]\n{keys}\n")
}

/// The path of a file of this crate.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn the_examples_are_plans() {
    for (name, populations, connections) in [("chat", 3, 1000), ("feed", 2, 150), ("mixed", 6, 100)] {
        let scenario = Scenario::read(&path(&format!("scenarios/{name}.toml"))).unwrap_or_else(|e| panic!("{e}"));
        let plan = scenario.plan().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((plan.populations.len(), plan.connections()), (populations, connections), "{name}");
    }
}

#[test]
fn the_smallest_scenario_has_the_defaults_of_a_plan() {
    let plan = plan(&population("behaviour = \"echo\""));
    let default = Plan::new("ws://127.0.0.1:9001/");
    assert_eq!(format!("{:?}", Plan { stop: default.stop.clone(), ..plan }), format!("{default:?}"));
}

#[test]
fn every_key_of_the_top_is_in_the_plan() {
    let plan = plan(
        r#"
        messages = "10k"
        warmup = "1.5s"
        timeout = 3
        verify = "all"
        seed = 42
        max-errors = "0.5%"
        targets = [
            { url = "ws://a.example/x", weight = 3, addresses = ["192.0.2.1:80", "[2001:db8::1]:80"] },
            { url = "[::1]:9001" },
            { url = "unix:/run/app.sock:/ws" },
        ]
        connect = { rate = "1k", concurrency = 8, timeout = "2s", sources = ["127.0.0.2-127.0.0.4", "::1"] }
        [offer]
        headers = { x-one = "1", X-Two = "2" }
        cookies = { a = "1", b = "two words" }
        bearer = "token"
        origin = "https://example.com"
        subprotocols = ["v2", "v1"]
        deflate = "shared"
        [[populations]]
        behaviour = "send"
        "#,
    );
    assert_eq!((plan.length, plan.warmup()), (RunLength::Messages(10_000), SECOND * 3 / 2));
    assert_eq!((plan.timeout, plan.verify, plan.seed), (3 * SECOND, Verify::All, Some(42)));
    assert_eq!(plan.max_errors, 0.005);
    let targets: Vec<_> = plan.targets.iter().map(|target| (target.url.as_str(), target.weight)).collect();
    assert_eq!(targets, [("ws://a.example/x", 3), ("ws://[::1]:9001/", 1), ("unix:/run/app.sock:/ws", 1)]);
    let addresses: Vec<_> = plan.targets[0].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1:80", "[2001:db8::1]:80"]);
    let connect = &plan.connect;
    assert_eq!((connect.rate, connect.concurrency, connect.timeout), (Some(1000.0), Some(8), 2 * SECOND));
    let sources: Vec<IpAddr> =
        ["127.0.0.2", "127.0.0.3", "127.0.0.4", "::1"].map(|ip| ip.parse().expect("an address")).into();
    assert_eq!(connect.sources, sources);
    let header = |name: &str| plan.offer.headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
    let headers = ["x-one", "x-two", "cookie", "authorization"].map(header);
    assert_eq!(headers, ["1", "2", "a=1; b=two words", "Bearer token"].map(|text| Some(text.to_owned())));
    assert_eq!(plan.offer.origin.as_deref(), Some("https://example.com"));
    assert_eq!(plan.offer.subprotocols, ["v2", "v1"]);
    assert_eq!(plan.offer.deflate, Some(ringway::Deflate::shared()));
    assert!(plan.offer.tls.is_none());
}

#[test]
fn every_behaviour_has_its_values() {
    let of = |keys: &str| plan(&population(keys)).populations.remove(0).behaviour;
    let span = |text: &str| text.parse::<Span>().expect("a distribution");
    for (keys, behaviour) in [
        ("behaviour = \"echo\"", Behaviour::Echo),
        ("behaviour = \"request\"", Behaviour::Request { think: span("1s") }),
        ("behaviour = \"request\"\nthink = \"exp:2s\"", Behaviour::Request { think: span("exp:2s") }),
        ("behaviour = \"send\"", Behaviour::Send),
        ("behaviour = \"receive\"", Behaviour::Receive),
        ("behaviour = \"idle\"", Behaviour::Idle { ping: None }),
        ("behaviour = \"idle\"\nping = 20", Behaviour::Idle { ping: Some(20 * SECOND) }),
        ("behaviour = \"connect\"", Behaviour::Connect),
        ("behaviour = \"broadcast\"\nrate = 1", Behaviour::Broadcast { publishers: 1, topic: None }),
        ("behaviour = \"broadcast\"\nrate = 1\npublishers = 9", Behaviour::Broadcast { publishers: 9, topic: None }),
        (
            "behaviour = \"broadcast\"\nrate = 1\ntopic = \"news\"",
            Behaviour::Broadcast { publishers: 1, topic: Some("news".parse().expect("a name")) },
        ),
        ("behaviour = \"churn\"", Behaviour::Churn { lifetime: span("30s"), pause: Span::ZERO }),
        (
            "behaviour = \"churn\"\nlifetime = \"lognormal:30s:0.8\"\npause = \"1s-2s\"",
            Behaviour::Churn { lifetime: span("lognormal:30s:0.8"), pause: span("1s-2s") },
        ),
        ("behaviour = \"slow\"", Behaviour::Slow { bytes_per_second: 65_536 }),
        ("behaviour = \"slow\"\nbytes-per-second = \"1K\"", Behaviour::Slow { bytes_per_second: 1024 }),
    ] {
        assert_eq!(of(keys), behaviour, "{keys}");
    }
}

#[test]
fn loads_are_closed_or_open() {
    let of = |keys: &str| plan(&population(&format!("behaviour = \"echo\"\n{keys}"))).populations.remove(0).load;
    assert_eq!(of("pipeline = 16").in_flight(), Some(16));
    let open = |keys: &str| match of(keys) {
        Load::Open { schedule, arrivals } => (schedule, arrivals),
        Load::Closed { .. } => panic!("{keys} is an open loop"),
    };
    let (schedule, arrivals) = open("rate = \"10k\"");
    assert_eq!((schedule.rate_at(0), arrivals), (10_000.0, Arrivals::Uniform));
    // The warm-up is 1 s, the duration 10 s.
    let (schedule, arrivals) = open("rate = \"0:1k\"\narrivals = \"poisson\"");
    assert_eq!([1, 6, 11].map(|at| schedule.rate_at(at * 1_000_000_000)), [0.0, 500.0, 1000.0]);
    assert_eq!(arrivals, Arrivals::Poisson);
    let (schedule, _) = open("rate = 100\nstages = [\"2s:300\", \"0s:50\"]");
    assert_eq!([0, 1, 2, 3].map(|at| schedule.rate_at(at * 1_000_000_000)), [100.0, 100.0, 200.0, 50.0]);
}

#[test]
fn without_a_duration_the_longest_stages_are_the_length() {
    let keys = "behaviour = \"echo\"\nstages = [\"20s:1k\", \"1m:1k\"]";
    assert_eq!(plan(&population(keys)).length, RunLength::Time(80 * SECOND));
    let text = format!("duration = \"5s\"\n{}", population(keys));
    assert_eq!(plan(&text).length, RunLength::Time(5 * SECOND));
}

#[test]
fn values_of_the_command_line_replace_those_of_the_file() {
    let text = population("behaviour = \"echo\"\nrate = \"0:100\"");
    let mut scenario = Scenario::parse(&text, Path::new("s.toml")).expect("a scenario");
    scenario.set_length(RunLength::Time(2 * SECOND));
    scenario.set_warmup(Duration::ZERO);
    scenario.set_targets(vec![Target::new("ws://other/")]);
    let plan = scenario.plan().expect("a plan");
    assert_eq!(
        (plan.length, plan.warmup(), plan.targets[0].url.as_str()),
        (RunLength::Time(2 * SECOND), Duration::ZERO, "ws://other/")
    );
    // The ramp takes the new duration.
    let Load::Open { schedule, .. } = &plan.populations[0].load else { panic!("it is open") };
    assert_eq!(schedule.rate_at(1_000_000_000), 50.0);
}

#[test]
fn messages_are_of_every_kind() {
    let of = |keys: &str| {
        let text = population(&format!("behaviour = \"echo\"\nmessage = {{ {keys} }}"));
        let scenario = Scenario::parse(&text, &path("scenarios/s.toml")).expect("a scenario");
        scenario.plan().unwrap_or_else(|error| panic!("{error}")).populations.remove(0).message
    };
    for (keys, shown, max) in [
        ("", "text of 64 B", 64),
        ("size = 1024", "text of 1 KiB", 1024),
        ("size = \"20:70,1K:25\", kind = \"binary\"", "binary of 20:70,1K:25 B", 1024),
        ("size = \"16-64\", kind = \"unicode\"", "text of 16-64 B", 64),
        ("size = \"300\", kind = \"json\"", "JSON of 300 B", 300),
        ("text = \"a{seq}\"", "given text of up to 11 B", 11),
        ("records = \"messages.txt\"", "given text of up to 57 B", 57),
        ("records = \"messages.txt\", kind = \"binary\", format = \"lines\"", "given binary of up to 57 B", 57),
    ] {
        let content = of(keys);
        assert_eq!((content.to_string().as_str(), content.max_len()), (shown, max), "{keys}");
    }
    let length = std::fs::metadata(path("scenarios/messages.txt")).expect("the file").len() as usize;
    assert!(matches!(of("file = \"messages.txt\""), Content::Template(template) if template.len() == length));
    assert!(matches!(of("file = \"messages.txt\", kind = \"binary\""), Content::Literal(_)));
}

/// The error of a scenario, which has one line.
fn says(text: &str) -> String {
    let error = read(text).expect_err(text).to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn an_invalid_value_is_named_with_its_line_and_the_remedy() {
    for (text, error) in [
        ("duration = \"soon\"", "1: duration = \"soon\": give a time, as 500ms, 1.5s or 2m, up to 365d"),
        ("duration = true", "1: duration = true: invalid type: boolean `true`, expected a string or a number"),
        ("\n\nseed = -1", "3: seed = -1: invalid value: integer `-1`, expected u64"),
        ("verify = \"some\"", "1: verify = \"some\": unknown variant `some`, expected one of `off`, `sample`, `all`"),
        ("max-errors = 2", "1: max-errors = 2: give a share from 0% to 100%, as 0.1%"),
        ("connect = { rate = \"fast\" }", "1: connect = { rate = \"fast\" }: give a whole number, as 500, 10k or 1m"),
        (
            "connect = { sources = [\"x\"] }",
            "1: connect = { sources = [\"x\"] }: \"x\" is not an IP address: give one, as 127.0.0.2, or a range",
        ),
        (
            "[offer]\nsubprotocols = [\"a b\"]",
            "2: subprotocols = [\"a b\"]: give one name, of letters, digits and !#$%&'*+-.^_`|~",
        ),
        (
            "[offer]\norigin = \"\"",
            "2: origin = \"\": give an origin, as https://example.com, in visible ASCII characters",
        ),
        (
            "[offer]\ndeflate = \"yes\"",
            "2: deflate = \"yes\": unknown variant `yes`, expected one of `off`, `shared`, `takeover`",
        ),
        (
            "[[targets]]\nurl = \":9001=3\"",
            "2: url = \":9001=3\": write the weight as `weight = 3` beside `url = \"ws://127.0.0.1:9001/\"`",
        ),
        (
            "targets = [\"ws://a/\"]",
            "1: targets = [\"ws://a/\"]: invalid type: string \"ws://a/\", expected a table, as { url = \":9001\" }",
        ),
        (
            "[[targets]]\nurl = \"a\"\naddresses = [\"b\"]",
            "3: addresses = [\"b\"]: give an address and a port, as 127.0.0.1:9001 or [::1]:9001",
        ),
    ] {
        let found = says(text);
        assert_eq!(found, format!("s.toml:{error}"), "{text}");
    }
    for (key, error) in [
        ("connections = -5", "connections = -5: give a whole number, as 500, 10k or 1m"),
        ("connections = \"5000m\"", "connections = \"5000m\": give a number up to 4294967295"),
        ("rate = \"2000m\"", "rate = \"2000m\": a rate of 2000000000 per second: give one from 0 to 1000000000"),
        ("rate = 0.5", "rate = 0.5: give a whole number of messages per second, as 1, 500 or 10k"),
        ("rate = 0", "rate = 0: give at least 1 message per second"),
        ("stages = [\"10k:30s\"]", "stages = [\"10k:30s\"]: give a time, as 500ms, 1.5s or 2m, up to 365d"),
        (
            "arrivals = \"random\"\nrate = 1",
            "arrivals = \"random\": unknown variant `random`, expected `uniform` or `poisson`",
        ),
        (
            "lifetime = \"gamma:1s\"",
            "lifetime = \"gamma:1s\": \"gamma:1s\" is not a distribution: give a time (5s), a range (1s-10s), exp:30s or lognormal:30s:0.8",
        ),
        ("message = { size = \"65M\" }", "message = { size = \"65M\" }: messages of 65 MiB: give sizes up to 64 MiB"),
        ("message = { text = \"{nothing}\" }", "message = { text = \"{nothing}\" }: "),
    ] {
        let found = says(&population(&format!("behaviour = \"echo\"\n{key}")));
        assert!(found.starts_with(&format!("s.toml:4: {error}")), "{found}");
    }
}

#[test]
fn unknown_and_missing_keys_are_errors() {
    for (text, line, part) in [
        ("durations = 1", "s.toml:1: durations = 1: ", "unknown field `durations`, expected one of `duration`"),
        ("[offer.tls]\nca = 1", "s.toml:2: ca = 1: ", "unknown field `ca`"),
        ("[[populations]]\nbehavior = \"echo\"", "s.toml:2: behavior = \"echo\": ", "unknown field `behavior`"),
        ("[[populations]]\nconnections = 1", "s.toml:1: [[populations]]: ", "missing field `behaviour`"),
        (
            "[[populations]]\nbehaviour = \"walk\"",
            "s.toml:2: behaviour = \"walk\": ",
            "expected one of `echo`, `request`",
        ),
        ("[[targets]]\nweight = 1", "s.toml:1: [[targets]]: ", "missing field `url`"),
        ("seed = 1", "s.toml:", "missing field `populations`"),
        ("seed = ", "s.toml:1: seed =: ", "string values must be quoted"),
        ("a = 1\na = 2", "s.toml:2: a = 2: ", "duplicate key"),
    ] {
        let found = says(text);
        assert!(found.starts_with(line) && found.contains(part), "{found}");
    }
    let found = says("[[populations]]\nbehaviour = \"echo\"");
    assert_eq!(found, "s.toml: the scenario has no server: give [[targets]], or a URL on the command line");
}

#[test]
fn keys_that_do_not_fit_together_are_errors() {
    for (keys, error) in [
        (
            "behaviour = \"echo\"\nthink = \"1s\"",
            "4: think = \"1s\": `think` does not apply to echo: remove it, or give another behaviour",
        ),
        ("behaviour = \"idle\"\nlifetime = \"1s\"", "4: lifetime = \"1s\": `lifetime` does not apply to idle"),
        ("behaviour = \"request\"\nrate = 5", "4: rate = 5: `rate` does not apply to request"),
        ("behaviour = \"receive\"\nstages = []", "4: stages = []: `stages` does not apply to receive"),
        ("behaviour = \"connect\"\npipeline = 2", "4: pipeline = 2: `pipeline` does not apply to connect"),
        ("behaviour = \"echo\"\npipeline = 2\nrate = 5", "4: pipeline = 2: an open loop has no `pipeline`"),
        ("behaviour = \"echo\"\narrivals = \"poisson\"", "4: arrivals = \"poisson\": `arrivals` is of an open loop"),
        ("behaviour = \"echo\"\nrate = \"1:2\"\nstages = [\"1s:5\"]", "4: rate = \"1:2\": stages begin at one rate"),
        ("behaviour = \"idle\"\nmessage = { size = 5 }", "4: message = { size = 5 }: `message` does not apply to idle"),
        (
            "behaviour = \"echo\"\nmessage = { size = 5, text = \"x\" }",
            "4: message = { size = 5, text = \"x\" }: the message has `size` and `text`: give one of them",
        ),
        (
            "behaviour = \"echo\"\nmessage = { text = \"x\", kind = \"json\" }",
            "4: message = { text = \"x\", kind = \"json\" }: `text` has no messages of this kind",
        ),
        (
            "behaviour = \"echo\"\nmessage = { size = 5, order = \"random\" }",
            "4: message = { size = 5, order = \"random\" }: `order` is of `records`",
        ),
        (
            "behaviour = \"echo\"\nmessage = { size = 5, kind = \"json\" }",
            "4: message = { size = 5, kind = \"json\" }: JSON messages of 5 B: give sizes of at least ",
        ),
        (
            "behaviour = \"echo\"\nmessage = { file = \"none\" }",
            "4: message = { file = \"none\" }: ./none: No such file",
        ),
        (
            "behaviour = \"echo\"\nmessage = { records = \"none\" }",
            "4: message = { records = \"none\" }: ./none: No such file",
        ),
        // Those that the check of a plan finds have the line of their population, or none.
        ("behaviour = \"broadcast\"", "3: behaviour = \"broadcast\""),
    ] {
        let found = says(&population(keys));
        assert!(found.starts_with(&format!("s.toml:{error}")) || found.contains("broadcast needs the rate"), "{found}");
    }
    let two = population("behaviour = \"echo\"\n[[populations]]\nbehaviour = \"echo\"");
    assert_eq!(
        says(&two),
        "s.toml:4: [[populations]]: two populations are named \"echo\": give each a name of its own"
    );
    let second =
        population("behaviour = \"echo\"\n[[populations]]\nbehaviour = \"broadcast\"\npublishers = 51\nrate = 1");
    assert_eq!(says(&second), "s.toml:4: [[populations]]: broadcast: 51 publishers of 50 connections: give 1 to 50");
    let both = format!("duration = 1\nmessages = 5\n{}", population("behaviour = \"echo\""));
    assert_eq!(says(&both), "s.toml:2: messages = 5: the scenario has a duration as well: remove one of them");
}

#[test]
fn offers_are_checked_and_secrets_are_not_printed() {
    let offer = |table: &str| says(&format!("{}\n[offer]\n{table}", population("behaviour = \"echo\"")));
    for (table, error) in [
        ("headers = { upgrade = \"x\" }", "headers = { upgrade = \"x\" }: the opening handshake has its own upgrade"),
        ("headers = { \"a b\" = \"x\" }", "headers = { \"a b\" = \"x\" }: \"a b\" is not a valid header name"),
        ("cookies = { a = \"x;y\" }", "cookies = { a = \"x;y\" }: the cookie \"a=x;y\" is invalid"),
        ("bearer = \"two words\"", "bearer = …: give a token of visible ASCII characters, without spaces"),
        ("basic = \"secret\"", "basic = …: give USER:PASSWORD"),
        (
            "tls = { insecure = true }",
            "tls = { insecure = true }: no target has TLS: give a URL with wss://, or remove this table",
        ),
    ] {
        let found = offer(table);
        assert!(found.starts_with(&format!("s.toml:6: {error}")), "{found}");
    }
    assert!(offer("bearer = \"a\"\nbasic = \"b:c\"").ends_with("basic = …: this header is given twice: give it once"));
    assert!(offer("headers = { Origin = \"a\" }\norigin = \"b\"").contains("the origin is in `headers` as well"));
    let tls = |table: &str| {
        says(&format!(
            "targets = [{{ url = \"wss://a/\" }}]\npopulations = [{{ behaviour = \"echo\" }}]\n[offer.tls]\n{table}"
        ))
    };
    assert!(tls("key = \"k\"").contains("`key` needs the certificate: give `cert`"));
    assert!(tls("insecure = true\ncacert = [\"a\"]").contains("`insecure` verifies no certificate"));
    assert!(tls("cacert = [\"none.pem\"]").contains("./none.pem"), "{}", tls("cacert = [\"none.pem\"]"));
}

#[test]
fn a_recording_is_replayed_at_a_speed() {
    let folder = std::env::temp_dir().join(format!("ringway-scenario-replay-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let content = [r#"{"time":1,"type":"text","data":"a"}"#, r#"{"time":2,"type":"text","data":"b"}"#].join("\n");
    std::fs::write(folder.join("a.jsonl"), content).expect("it is written");
    std::fs::write(folder.join("bad.jsonl"), "{}\n").expect("it is written");
    let read = |keys: &str| Scenario::parse(&population(keys), &folder.join("s.toml"))?.plan();
    // The path begins at the folder of the scenario.
    for (speed, expected) in
        [("", Speed::Times(1.0)), ("speed = 10", Speed::Times(10.0)), ("speed = \"max\"", Speed::Max)]
    {
        let mut plan = read(&format!("behaviour = \"replay\"\nrecording = \"a.jsonl\"\n{speed}")).expect("a plan");
        let replay = plan.populations.remove(0);
        assert_eq!(replay.behaviour, Behaviour::Replay { speed: expected });
        assert!(matches!(replay.message, Content::Recording(script) if script.len() == 2));
    }
    for (keys, part) in [
        ("behaviour = \"replay\"", "replay sends a recording: give `recording`"),
        ("behaviour = \"replay\"\nrecording = \"b.jsonl\"", "4: recording = \"b.jsonl\": "),
        ("behaviour = \"replay\"\nrecording = \"bad.jsonl\"", "bad.jsonl: line 1: missing field `type`"),
        ("behaviour = \"replay\"\nrecording = \"a.jsonl\"\nrate = 5", "5: rate = 5: `rate` does not apply to replay"),
        ("behaviour = \"replay\"\nrecording = \"a.jsonl\"\nspeed = 0", "5: speed = 0: give a factor from 0.001"),
        ("behaviour = \"replay\"\nrecording = \"a.jsonl\"\nmessage = { size = 5 }", "remove one of them"),
        ("behaviour = \"echo\"\nrecording = \"a.jsonl\"", "`recording` does not apply to echo"),
    ] {
        let error = read(keys).expect_err(keys).to_string();
        assert!(error.contains(part), "{keys}: {error}");
    }
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

#[test]
fn a_url_is_checked_without_a_look_up() {
    let found = says("populations = [{ behaviour = \"echo\" }]\n[[targets]]\nurl = \"http://a/\"");
    assert!(found.starts_with("s.toml:3: url = \"http://a/\": "), "{found}");
    // The name is resolved when the run starts.
    plan("populations = [{ behaviour = \"echo\" }]\n[[targets]]\nurl = \"ws://no-such-host.invalid/\"");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Scenario::read(Path::new("/nonexistent/s.toml")).expect_err("there is none").to_string();
    assert!(error.starts_with("/nonexistent/s.toml: No such file or directory"), "{error}");
    let error = Scenario::read(Path::new("/dev/zero")).expect_err("it has no end").to_string();
    assert!(error.starts_with("/dev/zero: "), "{error}");
}
