use super::*;
use crate::arguments::{Arguments, CliCommand};
use clap::Parser;
use ringway::MessageKind;
use ringway_loadtest::{Arrivals, Behaviour, Verify};
use std::path::PathBuf;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The flags, or the error of the command line.
fn flags(arguments: &[&str]) -> Result<Box<Load>, String> {
    let parsed = Arguments::try_parse_from([&["ringway", "load"], arguments].concat());
    match parsed.map_err(|error| error.to_string())?.command {
        CliCommand::Load(load) => Ok(load),
        other => panic!("not load: {other:?}"),
    }
}

fn try_plan(arguments: &[&str]) -> Result<Plan, String> {
    match super::plan(&*flags(arguments)?, Stop::default()) {
        Ok(plan) => plan.check().map(|()| plan).map_err(|error| error.to_string()),
        Err(PlanFailure::Usage(error)) => Err(error),
        Err(PlanFailure::Other(error)) => Err(format!("{error:?}")),
    }
}

fn plan(arguments: &[&str]) -> Plan {
    try_plan(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// The error of these flags with a URL.
fn says(arguments: &[&str]) -> String {
    try_plan(&[&[":9001"], arguments].concat()).expect_err("the flags are invalid")
}

fn header(plan: &Plan, name: &str) -> Vec<String> {
    plan.offer.headers.get_all(name).iter().map(|value| value.to_str().expect("ASCII").to_owned()).collect()
}

/// The path of an example.
fn scenario(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../loadtest/scenarios").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// The rates of a population's schedule at these seconds.
fn rates<const N: usize>(population: &Population, seconds: [u64; N]) -> [f64; N] {
    let LoadOf::Open { schedule, .. } = &population.load else { panic!("{} is a closed loop", population.name) };
    seconds.map(|at| schedule.rate_at(at * 1_000_000_000))
}

#[test]
fn without_flags_a_plan_has_its_defaults() {
    let default = Plan::new("ws://127.0.0.1:9001/");
    let plan = Plan { stop: default.stop.clone(), ..plan(&[":9001"]) };
    assert_eq!(format!("{plan:?}"), format!("{default:?}"));
}

#[test]
fn urls_are_targets_with_weights() {
    let targets = |urls: &[&str]| -> Vec<(String, u32)> {
        plan(urls).targets.into_iter().map(|target| (target.url, target.weight)).collect()
    };
    for (url, target, weight) in [
        (":9001", "ws://127.0.0.1:9001/", 1),
        ("localhost:9001", "ws://localhost:9001/", 1),
        ("[::1]:9001/chat", "ws://[::1]:9001/chat", 1),
        ("ws://example.com/a?b=1", "ws://example.com/a?b=1", 1),
        ("unix:/run/app.sock:/ws", "unix:/run/app.sock:/ws", 1),
        (":9001=7", "ws://127.0.0.1:9001/", 7),
    ] {
        assert_eq!(targets(&[url]), [(target.to_owned(), weight)]);
    }
    let several = targets(&["ws://a/=3", "ws://b/", "unix:/run/app.sock=2"]);
    assert_eq!(several, [("ws://a/".into(), 3), ("ws://b/".into(), 1), ("unix:/run/app.sock".into(), 2)]);
    assert!(says(&[":9002=0"]).contains("the weight of :9002 is 0: give at least 1"));
    assert!(says(&["ws://b/=2000000"]).contains("the weight of ws://b/ is 2000000: give 1 to 1000000"));
}

#[test]
fn resolve_gives_addresses_to_the_urls_that_it_names() {
    let plan = plan(&[
        "wss://Chat.example/x",
        "ws://other/",
        "-k",
        "--resolve",
        "chat.example:443:192.0.2.1",
        "--resolve",
        "chat.example:443:[2001:db8::1]",
    ]);
    let addresses: Vec<String> = plan.targets[0].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1:443", "[2001:db8::1]:443"]);
    assert!(plan.targets[1].addresses.is_empty() && plan.offer.tls.is_some());
    let unused = says(&["--resolve", "chat.example:443:192.0.2.1"]);
    assert_eq!(unused, "--resolve chat.example:443:192.0.2.1: no URL has this host and port; give those of a URL");
    assert!(says(&["--resolve", "chat.example"]).contains("give HOST:PORT:ADDR"));
}

#[test]
fn local_addresses_are_lists_and_ranges() {
    let sources =
        plan(&[":9001", "--source-ip", "127.0.0.2-127.0.0.4,::1", "--source-ip", "127.0.0.9"]).connect.sources;
    let sources: Vec<String> = sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["127.0.0.2", "127.0.0.3", "127.0.0.4", "::1", "127.0.0.9"]);
    assert!(says(&["--source-ip", "127.0.0.4-127.0.0.2"]).contains("give the smaller address first"));
    assert!(says(&["--source-ip", "10.0.0.0-10.0.255.255,10.1.0.1"]).contains("65537 local addresses: give at most"));
}

#[test]
fn headers_cookies_and_credentials_are_offered() {
    let plan = plan(&[
        ":9001",
        "-H",
        "X-Key: one",
        "-H",
        "X-Key: two",
        "--cookie",
        "a=1",
        "--cookie",
        "b=2",
        "--bearer",
        "token",
        "--origin",
        "https://example.com",
        "--subprotocol",
        "v2",
        "--subprotocol",
        "v1",
        "--deflate=shared",
    ]);
    assert_eq!(header(&plan, "x-key"), ["one", "two"]);
    assert_eq!(
        (header(&plan, "cookie"), header(&plan, "authorization")),
        (vec!["a=1; b=2".into()], vec!["Bearer token".into()])
    );
    assert_eq!((plan.offer.origin.as_deref(), plan.offer.subprotocols.len()), (Some("https://example.com"), 2));
    assert_eq!(plan.offer.deflate, Some(ringway::Deflate::shared()));
    let basic = super::plan(&flags(&[":9001", "--basic", "Aladdin:open sesame"]).expect("flags"), Stop::default());
    let Ok(basic) = basic else { panic!("the flags are valid") };
    assert_eq!(header(&basic, "authorization"), ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);
    for (wrong, part) in [
        (&["--cookie", "a"][..], "give NAME=VALUE"),
        (&["--cookie", "a=1;b=2"], "without a semicolon"),
        (&["--bearer", "two words"], "give a token of visible ASCII characters"),
        (&["--basic", "user"], "give USER:PASSWORD"),
        (&["--bearer", "a", "--basic", "b:c"], "cannot be used with"),
        (&["--cookie", "a=1", "-H", "Cookie: b=2"], "give cookie once: with --cookie, or with -H"),
        (&["--bearer", "a", "-H", "Authorization: b"], "give authorization once: with --bearer, or with -H"),
        (&["--origin", "https://a", "-H", "Origin: b"], "give the origin once"),
        (&["-H", "Upgrade: b"], "the opening handshake has its own upgrade"),
    ] {
        let error = says(wrong);
        assert!(error.contains(part), "{wrong:?}: {error}");
    }
}

#[test]
fn lengths_and_times_are_those_of_the_flags() {
    let with = |arguments: &[&str]| plan(&[&[":9001"], arguments].concat());
    assert_eq!(with(&["-d", "1.5s"]).length, RunLength::Time(SECOND * 3 / 2));
    assert_eq!(with(&["-z", "2m"]).length, RunLength::Time(120 * SECOND));
    assert_eq!((with(&["-n", "10"]).length, with(&["-n", "10"]).warmup()), (RunLength::Messages(10), Duration::ZERO));
    let stages = with(&["--stage", "30s:1k", "--stage", "1m:2k"]);
    assert_eq!(stages.length, RunLength::Time(90 * SECOND));
    let plan =
        with(&["-w", "0", "--timeout", "2s", "--connect-timeout", "3s", "-r", "1k", "--connect-concurrency", "5"]);
    assert_eq!((plan.warmup(), plan.timeout), (Duration::ZERO, 2 * SECOND));
    let connect = &plan.connect;
    assert_eq!((connect.timeout, connect.rate, connect.concurrency), (3 * SECOND, Some(1000.0), Some(5)));
    let plan = with(&["--verify", "all", "--seed", "7", "--max-errors", "0.1%", "-t", "2"]);
    assert_eq!((plan.verify, plan.seed, plan.max_errors, plan.threads), (Verify::All, Some(7), 0.001, Some(2)));
    assert!(says(&["-d", "400d"]).contains("up to 365d"));
    assert!(says(&["-d", "1s", "-n", "5"]).contains("cannot be used with"));
}

#[test]
fn rates_and_stages_follow_the_warm_up() {
    let plan = plan(&[":9001", "-R", "1k:3k", "-w", "1s", "-d", "10s", "--arrivals", "poisson"]);
    assert_eq!(rates(&plan.populations[0], [0, 1, 6, 11, 60]), [1000.0, 1000.0, 2000.0, 3000.0, 3000.0]);
    assert!(matches!(plan.populations[0].load, LoadOf::Open { arrivals: Arrivals::Poisson, .. }));
    let plan = super::tests::plan(&[":9001", "-R", "100", "--stage", "2s:300", "-w", "1s"]);
    assert_eq!(rates(&plan.populations[0], [0, 1, 2, 3]), [100.0, 100.0, 200.0, 300.0]);
    assert!(says(&["-R", "2000m"]).contains("a rate of 2000000000 per second: give one from 0 to 1000000000"));
    assert!(says(&["--stage", "1s:0"]).contains("the rate is 0 for the whole run"));
    assert!(says(&["-R", "5", "-p", "2"]).contains("cannot be used with"));
    assert!(says(&["-R", "5", "--mode", "idle"]).contains("a rate does not apply to them"));
    let on_topic = super::tests::plan(&[":9001", "--mix", "echo:1,broadcast(3):1", "--topic", "news", "-R", "9"]);
    let topic = Some("news".parse().expect("a name"));
    assert_eq!(on_topic.populations[1].behaviour, Behaviour::Broadcast { publishers: 3, topic });
    assert!(says(&["--mix", "echo:1,idle:1", "--topic", "news"]).contains("--topic news is for broadcast"));
    assert!(says(&["--mode", "broadcast"]).contains("broadcast needs the rate at which messages are published (-R)"));
}

#[test]
fn a_mix_shares_connections_and_the_rate() {
    let plan = plan(&[":9001", "-c", "100", "--mix", "echo:60,churn(exp:5s):20,idle(20s):20", "-R", "800"]);
    let of = |index: usize| (plan.populations[index].name.as_str(), plan.populations[index].connections);
    assert_eq!([of(0), of(1), of(2)], [("echo", 60), ("churn", 20), ("idle", 20)]);
    // The rate is that of all connections that can have one.
    assert_eq!((rates(&plan.populations[0], [0]), rates(&plan.populations[1], [0])), ([600.0], [200.0]));
    assert_eq!(plan.populations[2].load.in_flight(), Some(1));
    assert_eq!(plan.populations[2].behaviour, Behaviour::Idle { ping: Some(20 * SECOND) });
    let plan = super::tests::plan(&[":9001", "--mix", "echo:1,idle:1", "-p", "16"]);
    let in_flight: Vec<_> = plan.populations.iter().map(|population| population.load.in_flight()).collect();
    assert_eq!(in_flight, [Some(16), Some(1)]);
    assert!(says(&["--mix", "idle:1,receive:1", "-p", "16"]).contains("(-p) does not apply to it"));
    assert!(says(&["--mix", "idle:1,receive:1", "-R", "16"]).contains("a rate does not apply to them"));
    assert!(says(&["--mix", "echo:1,idle:1", "-c", "1"]).contains("give at least 2"));
}

#[test]
fn messages_are_what_the_flags_describe() {
    let shown = |arguments: &[&str]| plan(&[&[":9001"], arguments].concat()).populations[0].message.to_string();
    let text_file = scenario("messages.txt");
    let at = format!("@{text_file}");
    for (arguments, content) in [
        (&["-s", "512", "-b"][..], "binary of 512 B"),
        (&["-s", "20:70,1K:25", "--unicode"], "text of 20:70,1K:25 B"),
        (&["--json", "-s", "300"], "JSON of 300 B"),
        (&["-m", "hello"], "given text of up to 5 B"),
        (&["-m", "n={seq} c={conn} t={time} r={random:4} i={int:1-9}"], "given text of up to 52 B"),
        (&["-m", "@@at"], "given text of up to 3 B"),
        (&["-m", &at], "given text of up to 227 B"),
        (&["-b", "-m", &at], "given binary of up to 227 B"),
        (&["--messages-from", &text_file], "given text of up to 57 B"),
    ] {
        assert_eq!(shown(arguments), content, "{arguments:?}");
    }
    let plan = plan(&[":9001", "-b", "-m", "x"]);
    assert_eq!(plan.populations[0].message.kind(), MessageKind::Binary);
    for (wrong, part) in [
        (&["-m", "{nothing}"][..], "{nothing}"),
        (&["-m", "@/nonexistent/file"], "/nonexistent/file: No such file"),
        (&["-b", "--messages-from", &text_file], "messages.txt"),
        (&["--json", "-s", "5"], "JSON messages of 5 B: give sizes of at least"),
        (&["-s", "5", "--mode", "idle"], "--size is for messages, and idle sends none: leave it out"),
        (&["-m", "x", "--mode", "receive"], "--message is for messages, and receive sends none"),
        (&["-m", "x", "--mode", "broadcast", "-R", "1"], "so it takes random content only: give a size (-s)"),
    ] {
        let error = says(wrong);
        assert!(error.contains(part), "{wrong:?}: {error}");
    }
}

#[test]
fn flags_replace_values_of_a_scenario() {
    let file = scenario("chat.toml");
    let of = |arguments: &[&str]| plan(&[&["--scenario", &file], arguments].concat());
    let plain = of(&[]);
    assert_eq!((plain.length, plain.warmup(), plain.seed), (RunLength::Time(30 * SECOND), 3 * SECOND, Some(7)));
    assert_eq!((plain.timeout, plain.max_errors, plain.connect.concurrency), (5 * SECOND, 0.001, Some(64)));
    assert_eq!(
        (header(&plain, "cookie"), header(&plain, "x-load-test")),
        (vec!["session=load-test".into()], vec!["chat".into()])
    );
    let changed = of(&[
        "ws://other/=2",
        "-d",
        "2s",
        "-w",
        "0",
        "--timeout",
        "1s",
        "--connect-timeout",
        "9s",
        "-r",
        "9",
        "--connect-concurrency",
        "1",
        "--seed",
        "8",
        "--verify",
        "off",
        "--max-errors",
        "1%",
        "--deflate",
        "--origin",
        "https://b.example",
        "--cookie",
        "a=b",
        "-H",
        "X-Other: 1",
        "--source-ip",
        "127.0.0.3",
        "--subprotocol",
        "x",
        "-t",
        "1",
    ]);
    assert_eq!(changed.targets, [Target { weight: 2, ..Target::new("ws://other/") }]);
    assert_eq!((changed.length, changed.warmup()), (RunLength::Time(2 * SECOND), Duration::ZERO));
    assert_eq!((changed.timeout, changed.verify, changed.seed), (SECOND, Verify::Off, Some(8)));
    let connect = &changed.connect;
    assert_eq!((connect.timeout, connect.rate, connect.concurrency), (9 * SECOND, Some(9.0), Some(1)));
    assert_eq!((connect.sources.len(), changed.max_errors, changed.threads), (1, 0.01, Some(1)));
    assert_eq!(changed.offer.deflate, Some(ringway::Deflate::takeover()));
    assert_eq!(changed.offer.origin.as_deref(), Some("https://b.example"));
    let headers = ["cookie", "x-load-test", "x-other"].map(|name| header(&changed, name));
    assert_eq!(headers, [["a=b"], ["chat"], ["1"]]);
    assert_eq!(changed.offer.subprotocols, ["x"]);
    assert_eq!(changed.connections(), plain.connections());
    assert_eq!(of(&["-n", "500"]).length, RunLength::Messages(500));
    // Without a flag, the compression of the scenario stays.
    let feed = scenario("feed.toml");
    assert_eq!(plan(&["--scenario", &feed]).offer.deflate, Some(ringway::Deflate::takeover()));
    assert_eq!(plan(&["--scenario", &feed, "--deflate=off"]).offer.deflate, None);
}

#[test]
fn flags_of_one_population_cannot_be_combined_with_a_scenario() {
    let file = scenario("chat.toml");
    for flags in [
        &["-c", "5"][..],
        &["-p", "2"],
        &["-R", "5"],
        &["--stage", "1s:5"],
        &["--arrivals", "poisson"],
        &["--mode", "idle"],
        &["--mix", "echo:1"],
        &["-s", "5"],
        &["-m", "x"],
        &["--messages-from", "x"],
        &["--unicode"],
        &["--json"],
        &["-b"],
    ] {
        let error = try_plan(&[&["--scenario", &file], flags].concat()).expect_err("they are of the scenario");
        assert!(error.contains("--scenario <FILE>") && error.contains("cannot be used with"), "{flags:?}: {error}");
    }
    assert!(try_plan(&["--scenario", &file, "-k"]).expect_err("no URL has TLS").contains("--insecure is for TLS"));
    assert!(try_plan(&[]).expect_err("there is no server").contains("required"));
    let missing = try_plan(&["--scenario", "/nonexistent.toml"]).expect_err("there is no file");
    assert!(missing.starts_with("/nonexistent.toml: No such file"), "{missing}");
}
