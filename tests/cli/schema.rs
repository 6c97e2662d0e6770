//! docs/load.schema.json describes the JSON of `ringway load`: real reports are valid, and a key
//! that is missing or not described is an error.

use crate::seccomp::{errno, exists, filter, ringway_under};
use crate::tls::{Ca, address};
use jsonschema::Validator;
use ringway::{CloseReason, Connection, ConnectionId, Handler, Limits, Message, Request, Shard, Upgrade};
use ringway_tests::{Counting, Ended, ServerProcess, TestDirectory, TestServer, config, finish, ringway, run, start};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};

const EACCES: i32 = 13;

fn schema() -> Value {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/load.schema.json"));
    serde_json::from_str(text).expect("the schema is JSON")
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap_or_else(|error| panic!("the schema is invalid: {error}"))
}

/// The arguments of a load that measures for a short time.
fn arguments<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["load", url, "--threads=2", "--warmup=0", "--format=json"], more].concat()
}

/// The report of a run, which is valid.
fn report(ended: &Ended) -> Value {
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let errors: Vec<String> =
        validator().iter_errors(&report).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?} in {report:#}");
    check_sums(&report);
    check_histograms(&report);
    report
}

/// Runs a load of a server without TLS.
fn load(server: SocketAddr, more: &[&str]) -> Value {
    report(&run(ringway(&arguments(&format!("ws://{server}/"), more))))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}"))
}

pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// Checks that the messages of the threads and of the populations add up to those of the run.
fn check_sums(report: &Value) {
    let threads = list(&report["generator"], "threads");
    let populations = list(report, "populations");
    for key in ["offered", "sent", "received", "missing", "arrived", "bytes_sent", "bytes_received"] {
        let of_populations: u64 = populations.iter().map(|population| number(&population["messages"], key)).sum();
        assert_eq!(of_populations, number(&report["messages"], key), "{key}");
        let mut of_all = 0;
        for population in populations {
            let name = population["name"].as_str().expect("a name");
            let of_threads: u64 = threads.iter().map(|thread| number(&thread["populations"][name], key)).sum();
            of_all += of_threads;
            // The missing deliveries of a broadcast belong to no thread.
            let belongs_to_threads = key != "missing" || population["behaviour"] != "broadcast";
            let expected = if belongs_to_threads { number(&population["messages"], key) } else { 0 };
            assert_eq!(of_threads, expected, "{key} of {name}");
        }
        assert_eq!(threads.iter().map(|thread| number(&thread["messages"], key)).sum::<u64>(), of_all, "{key}");
    }
    for (planned, population) in list(&report["plan"], "populations").iter().zip(populations) {
        assert_eq!(planned["name"], population["name"]);
        assert_eq!(planned["behaviour"]["kind"], population["behaviour"]);
    }
}

/// The positions of all histograms in the report, and the number of values in each.
fn histograms(value: &Value, at: &str, found: &mut BTreeMap<String, u64>) {
    match value {
        Value::Object(object) if object.contains_key("p9999") => {
            found.insert(at.to_owned(), number(value, "count"));
        }
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| histograms(value, &format!("{at}/{key}"), found))
        }
        Value::Array(array) => {
            array.iter().enumerate().for_each(|(index, value)| histograms(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Checks that each histogram has its buckets, if they were requested, and that they have the
/// figures of the histogram.
fn check_histograms(report: &Value) {
    if report["plan"]["buckets"] == json!(false) {
        assert_eq!(report["histograms"], Value::Null);
        return;
    }
    let mut expected = BTreeMap::new();
    histograms(report, "", &mut expected);
    let found = list(report, "histograms").iter().map(|histogram| {
        let of = histogram["of"].as_str().expect("a position").to_owned();
        let buckets = list(histogram, "buckets");
        let figures = report.pointer(&of).unwrap_or_else(|| panic!("{of} in {report:#}"));
        let end = |bucket: Option<&Value>, at: usize| bucket.expect("not empty")[at].clone();
        assert_eq!((end(buckets.first(), 0), end(buckets.last(), 1)), (figures["min"].clone(), figures["max"].clone()));
        assert!(buckets.iter().all(|bucket| bucket[0].as_f64() <= bucket[1].as_f64()), "{buckets:?}");
        assert!(buckets.windows(2).all(|pair| pair[0][1].as_f64() < pair[1][0].as_f64()), "{buckets:?}");
        (of, buckets.iter().map(|bucket| bucket[2].as_u64().expect("a count")).sum::<u64>())
    });
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
}

#[test]
fn the_report_of_a_closed_loop_is_valid() {
    let server = TestServer::echo();
    let report =
        load(server.address(), &["-c=4", "-n=300", "-p=3", "-s=20:1,1K-2K:3", "--buckets", "-H=X-Key: secret"]);
    assert_eq!((&report["messages"]["received"], &report["plan"]["messages"]), (&300.into(), &300.into()));
    assert_eq!(list(&report["generator"], "threads").len(), 2);
    assert_eq!(report["plan"]["headers"], json!(["x-key"]));
    let load = &report["plan"]["populations"][0]["load"];
    assert_eq!(load, &json!({ "loop": "closed", "in_flight": 3 }));
    let report = self::load(server.address(), &["-c=2", "-d=100ms", "--verify=off", "-b", "--deflate"]);
    assert_eq!((&report["histograms"], &report["plan"]["deflate"]), (&Value::Null, &"takeover".into()));
}

#[test]
fn the_report_of_an_open_loop_is_valid() {
    let server = TestServer::echo();
    let flags = ["-c=4", "-R=100:2k", "-d=300ms", "--arrivals=poisson", "--buckets", "-m={seq} {time}"];
    let report = load(server.address(), &flags);
    assert!(report["latency_us"]["send_lag"].is_object(), "{report:#}");
    let planned = &report["plan"]["populations"][0];
    assert_eq!((&planned["load"]["arrivals"], &planned["message"]["content"]), (&"poisson".into(), &"template".into()));
    let load = &report["verdict"]["figures"]["load"];
    assert_eq!(load["loop"], "open", "{load}");
}

#[test]
fn the_report_of_all_behaviours_is_valid() {
    let server = TestServer::echo();
    let mix = "--mix=echo:2,request(1ms-5ms):2,send:2,receive:2,idle(20ms):2,connect:2,broadcast(2):2,\
               churn(exp:50ms):2,slow(1M):2";
    let report = load(server.address(), &["-c=18", mix, "-R=200", "-d=400ms", "--buckets"]);
    let names: Vec<&Value> = list(&report, "populations").iter().map(|population| &population["behaviour"]).collect();
    assert_eq!(names.len(), 9, "{names:?}");
    let planned = list(&report["plan"], "populations");
    for (name, sends) in [("echo", true), ("receive", false), ("idle", false), ("slow", false)] {
        let population = planned.iter().find(|population| population["name"] == name).expect("it is in the mix");
        assert_eq!((population["load"].is_object(), population["message"].is_object()), (sends, sends), "{population}");
    }
    // A stream has no schedule and no replies.
    let server = ServerProcess::with(&["--shards=1", "--app=sink"]);
    let report = load(server.address(), &["-c=2", "--mode=send", "-n=1000"]);
    assert_eq!(report["verdict"]["figures"]["load"]["loop"], "stream", "{report:#}");
    let directory = TestDirectory::new("schema-replay");
    let file = directory.file("a.jsonl");
    std::fs::write(&file, "{\"time\":1,\"type\":\"text\",\"data\":\"a\"}\n").expect("it is ours");
    let report = load(server.address(), &["-c=2", &format!("--replay={}", file.display()), "-d=100ms"]);
    assert_eq!(report["plan"]["populations"][0]["behaviour"], json!({ "kind": "replay", "speed": 1.0 }));
    let report = load(server.address(), &["-c=2", "--mode=idle", "-d=10ms"]);
    assert_eq!(report["verdict"]["figures"]["load"], json!({ "loop": "none" }));
}

/// A handler that sends each message to all connections.
#[derive(Default)]
struct Everyone(Vec<ConnectionId>);

impl Handler for Everyone {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.0.push(conn.id());
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let own = conn.id();
        for id in self.0.iter().filter(|id| **id != own) {
            if let Some(mut other) = conn.shard().connection(*id) {
                let _ = other.send(Message::binary(message.payload()));
            }
        }
        conn.reply(message);
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, (): (), _: &CloseReason) {
        self.0.retain(|id| shard.connection(*id).is_some());
    }
}

#[test]
fn the_report_of_messages_that_the_server_sends_is_valid() {
    let server = TestServer::start(config(), Limits::default(), |_| Everyone::default());
    let report = load(server.address(), &["-c=4", "--mode=broadcast:1", "-b", "-R=200", "-d=300ms", "--buckets"]);
    let reach = &report["populations"][0]["reach"];
    assert!(number(reach, "messages") > 0 && reach["last_us"].is_object(), "{reach}");
    let server = ServerProcess::with(&["--shards=2", "--app=topics"]);
    let longest = format!("--topic={}", "n".repeat(255));
    for kind in ["--unicode", "--binary"] {
        let of_topic = ["-c=12", "--mode=broadcast:3", &longest, kind, "-s=24-90", "-n=300", "-R=1000"];
        let report = load(server.address(), &of_topic);
        let (connections, messages) = (&report["connections"], &report["messages"]);
        assert_eq!((number(connections, "established"), number(messages, "sent")), (12, 300), "{report:#}");
        assert_eq!((number(messages, "received"), number(messages, "missing")), (300 * 11, 0), "{report:#}");
        assert_eq!(report["errors"], json!({}), "{report:#}");
        let reach = &report["populations"][0]["reach"];
        assert_eq!((number(reach, "readers"), number(reach, "own_copies")), (11, 300), "{reach}");
        assert_eq!(report["plan"]["populations"][0]["behaviour"]["topic"], longest["--topic=".len()..]);
    }
    let server = ServerProcess::with(&["--shards=1", "--app=push:1k"]);
    let report = load(server.address(), &["-c=2", "--mode=receive", "-d=300ms", "--buckets"]);
    assert!(report["populations"][0]["gaps_us"].is_object(), "{report:#}");
}

#[test]
fn the_report_of_a_server_with_tls_is_valid() {
    let ca = Ca::new();
    ca.write("server", &["127.0.0.1"]);
    let server = ca.serve(&["server"], &[]);
    let url = format!("wss://{}/", address(&server));
    let report = report(&run(ringway(&arguments(&url, &["-k", "-c=4", "-n=100", "--buckets"]))));
    assert_eq!((&report["tls"]["full"], list(&report["tls"], "sessions").len()), (&4.into(), 1));
    assert!(report["opening_us"]["tls"].is_object(), "{report:#}");
}

#[test]
fn the_report_of_a_server_that_cannot_be_reached_is_valid() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let ended = run(ringway(&arguments(&format!("ws://{address}/"), &["-c=3", "-n=10", "--buckets"])));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let report = report(&ended);
    assert_eq!((&report["errors"]["connect_refused"]["count"], &report["histograms"]), (&3.into(), &json!([])));
    let missing = list(&report["verdict"]["figures"], "missing");
    assert!(missing.iter().any(|why| why.as_str().is_some_and(|why| why.contains("backlog"))), "{missing:?}");
}

#[test]
fn the_report_of_messages_without_an_answer_is_valid() {
    let server = ServerProcess::with(&["--shards=1", "--app=sink"]);
    let ended = run(ringway(&arguments(
        &format!("ws://{}/", server.address()),
        &["-c=2", "-n=6", "-p=3", "--timeout=20ms", "--buckets"],
    )));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let report = report(&ended);
    let response = &report["latency_us"]["response"];
    assert_eq!((&response["count"], &response["lower_bounds"]), (&6.into(), &6.into()));
    let from = response["lower_bound_from"].as_f64().expect("all are lower bounds");
    assert!(from >= 19_900.0 && response["min"].as_f64() >= Some(from), "the time waited: {response}");
    assert!(list(&report["errors"]["reply_timeout"], "samples").len() <= 3, "{report:#}");
}

#[test]
fn the_report_of_a_run_that_is_interrupted_is_valid() {
    let server = TestServer::start(config(), Limits::default(), |_| Counting::default());
    // At one connection per second, the signal arrives while it is connecting.
    for (flags, is_measured) in [(&["-c=2"][..], true), (&["-c=1000", "-r=1"], false)] {
        let url = format!("ws://{}/", server.address());
        let child = start(ringway(&arguments(&url, &[&["-d=1h", "--buckets"], flags].concat())));
        server.wait_until("it has begun", move |counting, shard| {
            shard.connection_count() > 0 && (counting.0 > 100 || !is_measured)
        });
        kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
        let ended = finish(child);
        assert_eq!(ended.status.code(), Some(130), "{ended:?}");
        let report = report(&ended);
        assert_eq!(report["interrupted"], true);
        assert_eq!(report["measured_seconds"].as_f64() > Some(0.0), is_measured, "{report:#}");
        server.wait_until_empty();
    }
}

/// The generator may not read the links in `/proc`, so it does not find the process of the server.
#[test]
fn the_report_of_a_server_whose_process_cannot_be_read_is_valid() {
    let server = ServerProcess::with(&["--shards=1"]);
    let calls = ["readlink", "readlinkat"].into_iter().filter(|call| exists(call));
    let rules: Vec<Value> = calls.map(|call| json!({ "syscall": call })).collect();
    let filters = [filter(&json!("allow"), &errno(EACCES), &rules)];
    let url = format!("ws://{}/", server.address());
    let report = report(&run(ringway_under(&filters, &arguments(&url, &["-c=2", "-n=100"]))));
    assert_eq!((&report["server"], &report["messages"]["received"]), (&Value::Null, &100.into()));
    let missing = list(&report["verdict"]["figures"], "missing");
    assert!(missing.iter().any(|why| why.as_str().is_some_and(|why| why.contains("server's CPU"))), "{missing:?}");
}

/// The objects of a value, with the names of their keys.
pub(crate) fn objects(value: &Value, at: &str, found: &mut Vec<(String, Vec<String>)>) {
    match value {
        Value::Object(object) => {
            found.push((at.to_owned(), object.keys().cloned().collect()));
            object.iter().for_each(|(key, value)| objects(value, &format!("{at}/{key}"), found));
        }
        Value::Array(array) => {
            array.iter().enumerate().for_each(|(index, value)| objects(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

#[test]
fn a_key_that_is_missing_or_not_described_is_refused() {
    let server = TestServer::echo();
    let mut report =
        load(server.address(), &["-c=2", "--mix=echo:1,request(1ms):1", "-R=500", "-d=100ms", "--buckets"]);
    let validator = validator();
    let mut found = Vec::new();
    objects(&report, "", &mut found);
    assert!(found.len() > 30, "{found:?}");
    for (at, keys) in found {
        // The keys of these are the kinds of errors, and the names of populations.
        let is_map = at.ends_with("/errors") || at.starts_with("/generator/threads/") && at.ends_with("/populations");
        for key in keys.iter().filter(|_| !is_map) {
            let removed = report.pointer_mut(&at).and_then(Value::as_object_mut).and_then(|object| object.remove(key));
            assert!(!validator.is_valid(&report), "without {at}/{key}");
            report.pointer_mut(&at).expect("it is an object")[key] = removed.expect("it was there");
        }
        report.pointer_mut(&at).expect("it is an object")["surprise"] = json!(0);
        assert!(!validator.is_valid(&report), "with {at}/surprise");
        report.pointer_mut(&at).and_then(Value::as_object_mut).and_then(|object| object.remove("surprise"));
        assert!(validator.is_valid(&report), "as it was: {at}");
    }
}

/// Checks the objects of the schema: each describes all its keys, requires them, and allows no
/// others.
pub(crate) fn check_schema(schema: &Value, at: &str) {
    match schema {
        Value::Object(object) => {
            if let Some(properties) = object.get("properties").filter(|_| object.contains_key("type")) {
                let keys: Vec<&String> = properties.as_object().expect("an object").keys().collect();
                let mut required: Vec<&str> = list(schema, "required").iter().filter_map(Value::as_str).collect();
                required.sort_unstable();
                assert_eq!(required, keys, "{at}");
                assert_eq!(schema["additionalProperties"], json!(false), "{at}");
                for key in keys {
                    let description = properties[key]["description"].as_str().unwrap_or_default();
                    assert!(description.ends_with('.'), "{at}/{key} has no description: {description:?}");
                    assert!(!key.ends_with("_us") || describes_unit(&properties[key]), "the unit of {at}/{key}");
                }
            }
            object.iter().for_each(|(key, value)| check_schema(value, &format!("{at}/{key}")));
        }
        Value::Array(array) => array.iter().for_each(|value| check_schema(value, at)),
        _ => {}
    }
}

/// Whether the description of a key states its unit, or refers to a definition, which does.
fn describes_unit(property: &Value) -> bool {
    let text = property.to_string();
    text.contains("microseconds") || text.contains("#/$defs/")
}

#[test]
fn the_schema_describes_and_requires_all_its_keys() {
    let schema = schema();
    let valid = jsonschema::meta::validate(&schema).map_err(|error| error.to_string());
    assert_eq!(valid, Ok(()));
    check_schema(&schema, "");
    // Each definition is used.
    let text = schema.to_string();
    for name in schema["$defs"].as_object().expect("an object").keys() {
        assert!(text.contains(&format!("\"#/$defs/{name}\"")), "{name}");
    }
}

#[test]
fn buckets_need_the_json_format() {
    let ended = run(ringway(&["load", "ws://127.0.0.1:1/", "--buckets"]));
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains("--buckets is for the JSON report: add --format json"), "{ended:?}");
}
