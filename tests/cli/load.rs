//! `ringway load`: its output and exit codes.

use ringway::{Connection, Handler, Limits, Message, Request, StatusCode, Upgrade};
use ringway_tests::{
    Counting, Echo, Ended, ServerProcess, TestServer, WATCHDOG, config, finish, ringway, ringway_after, run, start,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json as object};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A load of one thread without a live view, with these arguments after the URL.
fn load(server: SocketAddr, arguments: &[&str]) -> Command {
    ringway(&[&["load", &format!("ws://{server}/"), "-t", "1", "-q"], arguments].concat())
}

/// The number of errors of each kind.
fn errors(report: &Value) -> Value {
    let errors = report["errors"].as_object().unwrap_or_else(|| panic!("{report}"));
    errors.iter().map(|(kind, error)| (kind.clone(), error["count"].clone())).collect::<Map<_, _>>().into()
}

/// The report. Checks the exit code, and that stderr is empty.
fn report(ended: &Ended, code: i32) -> Value {
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(code), ""), "{ended:?}");
    json(&ended.stdout)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().map(String::as_str).collect()
}

fn sorted<const N: usize>(mut names: [&str; N]) -> Vec<&str> {
    names.sort_unstable();
    names.into()
}

/// A unique path of a new file in the directory of temporary files.
fn fresh(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ringway-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn a_good_run_ends_with_0_and_its_json_has_exactly_the_keys() {
    let server = TestServer::echo();
    let ended =
        run(load(server.address(), &["-c", "3", "-n", "300", "-w", "0", "--verify", "all", "--format", "json"]));
    let report = report(&ended, 0);
    // The schema, which another test checks, has the keys of the objects in it.
    let top = [
        "schema_version",
        "version",
        "started_at",
        "machine",
        "plan",
        "connections",
        "opening_us",
        "ramp",
        "tls",
        "compression",
        "messages",
        "latency_us",
        "populations",
        "histograms",
        "errors",
        "timeline",
        "generator",
        "server",
        "verdict",
        "interrupted",
        "measured_seconds",
    ];
    assert_eq!(keys(&report), sorted(top));
    assert_eq!(keys(&report["latency_us"]), sorted(["response", "service", "send_lag"]));
    assert!(report["latency_us"]["send_lag"].is_null(), "a closed loop has no schedule");
    assert_eq!(keys(&report["verdict"]), sorted(["limited_by", "evidence", "remedy", "figures"]));
    assert_eq!(report["plan"]["warmup_seconds"], 0.0);
    assert_eq!((&report["messages"]["received"], &report["messages"]["missing"]), (&300.into(), &0.into()));
    assert_eq!((&report["schema_version"], &report["interrupted"]), (&2.into(), &false.into()));
    assert!(report["measured_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn the_text_report_has_the_main_figures() {
    let server = TestServer::echo();
    let ended = run(load(server.address(), &["-c", "2", "-n", "10", "-w", "0", "-s", "16K"]));
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    for line in [
        "target       ws://127",
        "load         echo, 2 connections, closed loop with 1 in flight on each, text of 16 KiB\n",
        "threads      1, ",
        "connections  2 of 2 in ",
        "             10 sent, 10 answered, in ",
        "times               p50       p90       p99     p99.9       max      mean\n  response ",
        "server       ",
        "generator    1 thread, ",
        "errors       none\n",
        "limited by   ",
    ] {
        assert!(ended.stdout.contains(line), "{line:?} in {}", ended.stdout);
    }
}

/// A handler that answers each message with another one of the same length.
struct Contrary;

impl Handler for Contrary {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, _: Message<'_>) {
        let _ = conn.send(Message::text(&"no".repeat(32)));
    }
}

#[test]
fn a_wrong_echo_ends_with_1() {
    let server = TestServer::start(config(), Limits::default(), |_| Contrary);
    let report = report(&run(load(server.address(), &["-c", "2", "-n", "10", "-w", "0", "--format=json"])), 1);
    assert_eq!(errors(&report), object!({ "verify_content": 10 }));
    assert_eq!((&report["messages"]["corrupted"], &report["messages"]["received"]), (&10.into(), &0.into()));
}

/// A handler that accepts 71 connections and rejects the others.
#[derive(Default)]
struct Picky(u32);

impl Handler for Picky {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        self.0 += 1;
        if self.0 <= 71 { Upgrade::accept(()) } else { Upgrade::reject(StatusCode::SERVICE_UNAVAILABLE, "full") }
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

#[test]
fn connections_that_do_not_open_end_it_with_1() {
    let server = TestServer::start(config(), Limits::default(), |_| Picky::default());
    let report = report(&run(load(server.address(), &["-c", "100", "-n", "500", "-w", "0", "--format=json"])), 1);
    let connections = &report["connections"];
    assert_eq!((&connections["established"], &connections["failed"]), (&71.into(), &29.into()));
    assert_eq!(report["messages"]["received"], 500, "the open connections have sent all messages");
    assert_eq!(errors(&report), object!({ "handshake_status_503": 29 }));
}

#[test]
fn a_refused_connection_is_reported_and_ends_with_1() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let ended = run(load(address, &["-c", "3", "--format=json"]));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let report = json(&ended.stdout);
    let connections = &report["connections"];
    assert_eq!((&connections["established"], &connections["failed"]), (&0.into(), &3.into()));
    assert_eq!(errors(&report), object!({ "connect_refused": 3 }));
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("none of 3") && ended.stderr.contains("refused"), "{ended:?}");
    let text = run(load(address, &[])).stdout;
    assert!(text.contains("0 of 50, 50 failed\n") && text.contains("nothing was measured"), "{text}");
    assert!(!text.contains("0.00"), "{text}");
}

/// A handler that counts the connections that have opened.
#[derive(Default)]
struct Welcoming(u64);

impl Handler for Welcoming {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, _: &mut Connection<'_, Self>) {
        self.0 += 1;
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

#[test]
fn idle_connections_that_the_server_closes_end_it_with_1() {
    let server = TestServer::start(config(), Limits::default(), |_| Welcoming::default());
    let child = start(load(server.address(), &["-c", "5", "-d", "1h", "-w", "0", "--mode=idle", "--format=json"]));
    server.wait_until("all are open", |welcoming, _| welcoming.0 == 5);
    server.stop();
    let report = report(&finish(child), 1);
    assert_eq!((&report["connections"]["established"], &report["connections"]["failed"]), (&5.into(), &0.into()));
    assert_eq!(errors(&report), object!({ "closed_early": 5 }));
    assert_eq!(report["interrupted"], false, "it ended because no connection was left");
}

/// The CPU time of a process, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("procfs, and it runs");
    // The name, in parentheses, may have spaces in it.
    let fields = stat.rsplit(')').next().expect("it is not empty").split_whitespace().skip(11);
    fields.take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_server_that_is_killed_during_a_run_ends_it_with_1() {
    let serving = ServerProcess::with(&["--shards=1", "--app=sink"]);
    let child = start(load(serving.address(), &["-c", "5", "-d", "1h", "-w", "0", "--mode=send", "--format=json"]));
    // 0.2 s of CPU time: far more than five connections take to open.
    let (before, deadline) = (ticks(serving.pid()), Instant::now() + WATCHDOG);
    while ticks(serving.pid()) < before + 20 {
        assert!(Instant::now() < deadline, "the load sends no messages");
        std::thread::yield_now();
    }
    serving.signal(Signal::KILL);
    let ended = finish(child);
    // If this test may run on one core only, stderr has the warning that both share it.
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let report = json(&ended.stdout);
    assert_eq!((&report["connections"]["established"], &report["interrupted"]), (&5.into(), &false.into()));
    let errors = errors(&report);
    let counts = errors.as_object().expect("an object").values().filter_map(Value::as_u64);
    assert_eq!(counts.sum::<u64>(), 5, "{errors:?}");
    assert_eq!(report["connections"]["dropped"], 5);
}

#[test]
fn invalid_arguments_end_with_2_and_are_named() {
    for (arguments, named) in [
        (&["-H", "Connection: close"][..], "Connection: close"),
        (&["-H", "Upgrade: h2c"], "own upgrade"),
        (&["-H", "Sec-WebSocket-Key: x"], "own sec-websocket-key"),
        (&["-H", "Sec-WebSocket-Version: 8"], "own sec-websocket-version"),
        (&["-H", "Sec-WebSocket-Extensions: x"], "own sec-websocket-extensions"),
        (&["-H", "Sec-WebSocket-Accept: x"], "own sec-websocket-accept"),
        (&["-H", "Sec-WebSocket-Protocol: chat"], "--subprotocol"),
        (&["-H", "Content-Length: 5"], "own content-length"),
        (&["-H", "Transfer-Encoding: chunked"], "own transfer-encoding"),
        (&["--origin", "a\nb"], "--origin"),
        (&["--origin", "http://a", "-H", "Origin: http://b"], "--origin"),
        (&["--subprotocol", "a b"], "--subprotocol"),
        (&["--connect-timeout", "0"], "--connect-timeout"),
        (&["-c", "5000m"], "'5000m' for '--connections <N>': give a number from 1 to 1073741824"),
        (&["-c", "0"], "--connections"),
        (&["--connect-concurrency", "0"], "'0' for '--connect-concurrency <N>': give a number from 1 to 65536"),
        (&["--connect-concurrency", "65537"], "give a number from 1 to 65536"),
        (&["-p", "70k"], "'70k' for '--pipeline <N>': give a number from 1 to 65536"),
        (&["-s", "65M"], "65 MiB: give sizes up to 64 MiB"),
        (&["-d", "0"], "'0' for '--duration <TIME>': give at least 1ms"),
        (&["-d", "1.5x"], "give a time, as 500ms, 1.5s or 2m"),
        (&["-n", "0"], "'0' for '--messages <N>': give at least 1"),
        (&["-n", "1", "-d", "1s"], "--duration"),
        (&["-t", "0"], "'0' for '--threads <N>': give a number from 1 to 1024"),
        (&["-R", "0"], "'0' for '--rate <N|A:B>': give at least 1 message per second"),
        (&["-R", "5", "-p", "2"], "'--rate <N|A:B>' cannot be used with '--pipeline <N>'"),
        (&["-r", "0"], "'0' for '--connect-rate <N>': give at least 1"),
        (&["--stage", "10k"], "'10k' for '--stage <TIME:N>': give a time and a rate, as 30s:10k"),
        (&["--stage", "1s:5", "-d", "5s"], "'--stage <TIME:N>' cannot be used with '--duration <TIME>'"),
        (&["--mode", "walk"], "give echo, request[:TIME], send"),
        (&["--mode", "broadcast"], "-R"),
        (
            &["--mode", "broadcast", "--topic", "two words"],
            "'two words' for '--topic <NAME>': give a name of 1 to 255 bytes",
        ),
        (&["--topic", "news"], "--topic news is for broadcast, and the mode is echo: add --mode broadcast"),
        (&["--mode", "idle", "-R", "5"], "a rate does not apply"),
        (&["--mode", "idle", "-n", "5"], "give a duration"),
        (&["--mix", "echo"], "give \"echo\" a share, as echo:50"),
        (&["--max-errors", "101%"], "'101%' for '--max-errors <N%>': give a share from 0% to 100%"),
        (&["--source-ip", "host"], "\"host\" is not an IP address"),
        (&["--resolve", "a:80"], "give HOST:PORT:ADDR"),
        (&["--cookie", "a"], "'a' for '--cookie <NAME=VALUE>': the cookie \"a\" has no value: give NAME=VALUE"),
        (&["--basic", "a"], "'a' for '--basic <USER:PASSWORD>': give USER:PASSWORD"),
        (&["-m", "@/nowhere"], "--message: /nowhere"),
        (&["-m", "{x}"], "--message: template"),
        (&["--messages-from", "/nowhere"], "--messages-from: /nowhere"),
        (&["--seed", "x"], "'x' for '--seed <N>': give a whole number"),
        (&["-s", "20:x"], "--size"),
        (&["--timeout", "0"], "'0' for '--timeout <TIME>': give at least 1ms"),
        (&["--cores", "9999999"], "--cores"),
        (&["--verify", "some"], "[possible values: off, sample, all]"),
    ] {
        let ended = run(ringway(&[&["load", "ws://127.0.0.1:1/"], arguments].concat()));
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(named), "{arguments:?}: {ended:?}");
    }
    for (url, named) in [
        ("http://127.0.0.1/", "ws://"),
        ("wss://", "has no host"),
        ("ws://", "has no host"),
        ("a b", "a b"),
        ("", "URL"),
    ] {
        let ended = run(ringway(&["load", url]));
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{url}: {ended:?}");
        assert!(ended.stderr.contains(named), "{url}: {ended:?}");
    }
}

/// No machine echoes 8 MiB in a millisecond.
#[test]
fn a_run_in_which_nothing_could_be_measured_ends_with_4() {
    let server = TestServer::echo();
    let arguments = ["-c", "1", "-d", "1ms", "-w", "0", "-s", "8M", "-b", "--format", "json"];
    let report = report(&run(load(server.address(), &arguments)), 4);
    assert_eq!((&report["messages"]["per_second"], &report["messages"]["missing"]), (&0.0.into(), &0.into()));
    assert_eq!(report["verdict"]["limited_by"], "inconclusive");
}

#[test]
fn a_signal_ends_it_with_a_report_of_the_measured_part() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let server = TestServer::start(config(), Limits::default(), |_| Counting::default());
        let child = start(load(server.address(), &["-c", "2", "-d", "1h", "-w", "0", "--format=json"]));
        server.wait_until("messages flow", |counting, _| counting.0 > 100);
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let report = report(&finish(child), code);
        assert_eq!((&report["interrupted"], &report["errors"]), (&true.into(), &object!({})));
        assert!(report["messages"]["received"].as_u64().is_some_and(|received| received > 0), "{report}");
        assert!(report["measured_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report}");
    }
}

#[test]
fn a_signal_while_connecting_does_not_count_untried_connections_as_failed() {
    let server = TestServer::echo();
    // One per second, so that the signal arrives while it is connecting.
    let child = start(load(server.address(), &["-c", "1000", "-r", "1", "--format=json"]));
    server.wait_until("the first is open", |_, shard| shard.connection_count() > 0);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let ended = finish(child);
    let report = report(&ended, 130);
    assert_eq!((&report["connections"]["failed"], &report["errors"]), (&0.into(), &object!({})));
    assert_eq!((&report["interrupted"], &report["measured_seconds"]), (&true.into(), &0.0.into()));
    let generator = &report["generator"];
    let threads = generator["threads"].as_array().unwrap_or_else(|| panic!("{report}"));
    assert_eq!((threads.len(), &generator["cpu_seconds"]), (1, &0.0.into()));
    assert_eq!((&threads[0]["busy"], &threads[0]["polling"]), (&0.0.into(), &0.0.into()));
    assert!(!ended.stdout.contains("-0.0"), "{}", ended.stdout);
}

#[test]
fn the_result_goes_to_the_file_that_is_named() {
    let (server, path) = (TestServer::echo(), fresh("result.json"));
    let file = path.to_str().expect("UTF-8");
    std::fs::write(&path, "something long from before ".repeat(1000)).expect("a temporary file");
    for _ in ["over what was there", "and where nothing was"] {
        let ended = run(load(server.address(), &["-c", "1", "-n", "5", "-w", "0", "--format=json", "-o", file]));
        assert_eq!((ended.status.code(), &*ended.stdout, &*ended.stderr), (Some(0), "", ""), "{ended:?}");
        let report = json(&std::fs::read_to_string(&path).expect("the result"));
        assert_eq!(report["messages"]["received"], 5);
        std::fs::remove_file(&path).expect("it is there");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_the_run() {
    let server = TestServer::echo();
    for file in ["/nowhere/result.json", "/"] {
        let ended = run(load(server.address(), &["-d", "1h", "-o", file]));
        assert!(ended.line(1).contains(file), "{ended:?}");
    }
    assert_eq!(server.stop().stats.accepted, 0);
}

#[test]
fn a_run_that_cannot_begin_does_not_change_the_file() {
    let (kept, none) = (fresh("kept.json"), fresh("none.json"));
    std::fs::write(&kept, "from before").expect("a temporary file");
    for path in [&kept, &none] {
        let file = path.to_str().expect("UTF-8");
        let command = ringway_after("ulimit -n 100", &["load", "ws://127.0.0.1:9/", "-c", "1000", "-o", file]);
        let ended = run(command);
        let line = ended.line(1);
        assert!(
            line.contains("may have 100") && line.contains("ulimit -n 1064") && line.ends_with("see `ringway doctor`"),
            "{line}"
        );
    }
    assert_eq!(std::fs::read_to_string(&kept).expect("it is there"), "from before");
    assert!(!none.exists());
    std::fs::remove_file(kept).expect("it is there");
}

/// As in `ringway load … | head -0`.
#[test]
fn a_closed_standard_output_is_not_a_failure() {
    let server: TestServer<Echo> = TestServer::echo();
    let (reader, writer) = std::io::pipe().expect("there is a descriptor left");
    drop(reader);
    let mut command = load(server.address(), &["-c", "1", "-n", "5", "-w", "0"]);
    let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(command); // It holds the pipe.
    let ended = finish(child);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let server = TestServer::echo();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = load(server.address(), &["-c", "1", "-n", "5", "-w", "0"]);
    let child = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn().expect("the program starts");
    let ended = finish(child);
    assert!(ended.line(1).contains("cannot write to standard output"), "{ended:?}");
}

#[test]
fn help_explains_each_exit_code() {
    let help = run(ringway(&["load", "--help"])).stdout;
    for word in ["0 success", "1 more failures than --max-errors", "2 usage", "4 nothing was measured", "130/143"] {
        assert!(help.split_whitespace().collect::<Vec<_>>().join(" ").contains(word), "{word:?} in {help}");
    }
}

/// Short help has the frequent flags, and long help and `help load` have all of them in one line
/// each.
#[test]
fn long_help_has_all_flags_and_short_help_the_frequent_ones() {
    let [short, long, command] =
        [&["load", "-h"][..], &["load", "--help"], &["help", "load"]].map(|arguments| run(ringway(arguments)).stdout);
    assert_eq!(long, command);
    assert!(long.lines().count() <= 100 && short.lines().count() <= 50, "{long}");
    assert!(!short.contains("--alpn") && long.contains("--alpn"), "{long}");
    for help in [short, long] {
        assert!(help.find("Examples:") < help.find("--connections"), "the examples are first: {help}");
    }
}

/// A handler that answers each hundredth message with another one.
#[derive(Default)]
struct Careless(u64);

impl Handler for Careless {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        self.0 += 1;
        if self.0.is_multiple_of(100) {
            let _ = conn.send(Message::text(&"no".repeat(message.payload().len() / 2)));
        } else {
            conn.reply(message);
        }
    }
}

/// 10 of 1000 messages and 4 connections fail: 0.996 %.
#[test]
fn max_errors_decides_the_exit_code() {
    for (flags, code) in [
        (&[][..], 1),
        (&["--max-errors", "0.5%"], 1),
        (&["--max-errors", "0.99%"], 1),
        (&["--max-errors", "1%"], 0),
        (&["--max-errors", "0.01"], 0),
    ] {
        let server = TestServer::start(config(), Limits::default(), |_| Careless::default());
        let arguments = [&["-c", "4", "-n", "1000", "--format=json"], flags].concat();
        let report = report(&run(load(server.address(), &arguments)), code);
        assert_eq!(errors(&report), object!({ "verify_content": 10 }), "{flags:?}");
    }
    let server = TestServer::start(config(), Limits::default(), |_| Careless::default());
    let text = run(load(server.address(), &["-c", "4", "-n", "1000", "--max-errors=1%"])).stdout;
    assert!(text.contains("failed       10 of 1004 messages and connections, 1 % (allowed: 1 %)\n"), "{text}");
    assert!(text.contains("errors       10 × verify_content: "), "{text}");
}

#[test]
fn failed_connections_count_for_max_errors() {
    for (share, code) in [("28%", 1), ("30%", 0)] {
        let server = TestServer::start(config(), Limits::default(), |_| Picky::default());
        // 29 of 100 connections and of 0 messages.
        let arguments = ["-c", "100", "-d", "1ms", "-w", "0", "--mode=idle", "--format=json", "--max-errors", share];
        report(&run(load(server.address(), &arguments)), code);
    }
}

#[test]
fn exactly_the_given_number_of_messages_is_sent() {
    let server = TestServer::start(config(), Limits::default(), |_| Counting::default());
    let report = report(&run(load(server.address(), &["-n", "10", "--format=json"])), 0);
    assert_eq!((&report["messages"]["sent"], &report["messages"]["received"]), (&10.into(), &10.into()));
    assert_eq!(server.on_shard(|counting, _| counting.0), 10, "there is no warm-up");
}

#[test]
fn latency_prints_the_whole_distribution_behind_the_summary() {
    let server = TestServer::echo();
    let ended = run(load(server.address(), &["-c", "2", "-n", "100", "--latency"]));
    let (summary, distribution) =
        ended.stdout.split_once("Value     Percentile").unwrap_or_else(|| panic!("{ended:?}"));
    assert!(summary.contains("errors       none"), "{ended:?}");
    assert!(distribution.contains(" 1.000000000000        100\n"), "{ended:?}");
    assert!(distribution.contains("Total count    =          100]"), "{ended:?}");
}

#[test]
fn abbreviated_urls_reach_the_server() {
    let server = TestServer::echo();
    let port = server.address().port();
    for url in [format!(":{port}"), format!("localhost:{port}"), format!("127.0.0.1:{port}/path"), format!(":{port}=2")]
    {
        let ended = run(ringway(&["load", &url, "-c", "2", "-n", "10", "-t", "1", "-q", "--format=json"]));
        assert_eq!(report(&ended, 0)["messages"]["received"], 10, "{url}");
    }
}

#[test]
fn durations_have_fractions_and_z_is_the_flag_of_oha() {
    let server = TestServer::echo();
    let report = report(&run(load(server.address(), &["-z", "0.05s", "-w", "0.01s", "--format=json"])), 0);
    assert_eq!((&report["plan"]["duration_seconds"], &report["plan"]["warmup_seconds"]), (&0.05.into(), &0.01.into()));
}
