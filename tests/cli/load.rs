//! `ringway load`: its output and exit codes.

use ringway::{Connection, Handler, Limits, Message, Request, StatusCode, Upgrade};
use ringway_tests::{
    Echo, Ended, ServerProcess, TestServer, WATCHDOG, config, finish, ringway, ringway_after, run, start,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A load of one thread, with these arguments after the URL.
fn load(server: SocketAddr, arguments: &[&str]) -> Command {
    ringway(&[&["load", &format!("ws://{server}/"), "-t", "1"], arguments].concat())
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
    let top = [
        "schema_version",
        "target",
        "mode",
        "connections",
        "opening_us",
        "tls",
        "messages",
        "latency_us",
        "errors",
        "generator",
        "server",
        "verdict",
        "interrupted",
        "measured_seconds",
    ];
    assert_eq!(keys(&report), sorted(top));
    let connections = ["requested", "established", "failed", "failed_in", "per_second"];
    assert_eq!(keys(&report["connections"]), sorted(connections));
    assert_eq!(keys(&report["connections"]["failed_in"]), sorted(["connect", "tls", "upgrade"]));
    assert_eq!(keys(&report["opening_us"]), sorted(["connect", "tls", "upgrade", "total"]));
    let messages = ["offered", "sent", "received", "missing", "per_second", "bytes_per_second"];
    assert_eq!(keys(&report["messages"]), sorted(messages));
    assert_eq!(keys(&report["latency_us"]), sorted(["response", "service", "send_lag"]));
    for of in ["response", "service"] {
        let quantiles = sorted(["p50", "p90", "p99", "p999", "max", "mean", "count"]);
        assert_eq!(keys(&report["latency_us"][of]), quantiles);
    }
    assert_eq!(keys(&report["generator"]), sorted(["threads", "cores", "busy_share", "cpu_seconds"]));
    assert_eq!(keys(&report["server"]), sorted(["pid", "cpu_seconds", "rss_bytes"]));
    assert_eq!(keys(&report["verdict"]), sorted(["limited_by", "evidence", "remedy", "figures"]));
    assert_eq!((&report["messages"]["received"], &report["messages"]["missing"]), (&300.into(), &0.into()));
    assert_eq!((&report["schema_version"], &report["interrupted"]), (&1.into(), &false.into()));
    assert!(report["measured_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn the_text_report_has_the_main_figures() {
    let server = TestServer::echo();
    let ended = run(load(server.address(), &["-c", "2", "-n", "10", "-w", "0", "-s", "16K"]));
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    for line in [
        "target       ws://127",
        "load         echo, 2 connections, 1 thread, text of 16 KiB",
        "threads      1, ",
        "errors       none",
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
    assert_eq!(report["errors"], serde_json::json!({ "verify_content": 10 }));
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
    assert_eq!(report["errors"], serde_json::json!({ "handshake_status_503": 29 }));
}

#[test]
fn a_refused_connection_is_reported_and_ends_with_1() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let ended = run(load(address, &["-c", "3", "--format=json"]));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let report = json(&ended.stdout);
    let connections = &report["connections"];
    assert_eq!((&connections["established"], &connections["failed"]), (&0.into(), &3.into()));
    assert_eq!(report["errors"], serde_json::json!({ "connect_refused": 3 }));
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
    assert_eq!(report["errors"], serde_json::json!({ "closed_early": 5 }));
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
    let errors = report["errors"].as_object().expect("an object");
    assert_eq!(errors.values().filter_map(Value::as_u64).sum::<u64>(), 5, "{errors:?}");
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
        (&["--connect-concurrency", "0"], "'0' for '--connect-concurrency <N>': give a number from 1 to 256"),
        (&["--connect-concurrency", "257"], "give a number from 1 to 256"),
        (&["-p", "70k"], "'70k' for '--pipeline <N>': give a number from 1 to 65536"),
        (&["-s", "65M"], "65 MiB: give sizes up to 64 MiB"),
        (&["-d", "0"], "above 0"),
        (&["-n", "1", "-d", "1s"], "--duration"),
        (&["-t", "0"], "thread"),
    ] {
        let ended = run(ringway(&[&["load", "ws://127.0.0.1:1/"], arguments].concat()));
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(named), "{arguments:?}: {ended:?}");
    }
    for url in ["127.0.0.1:1", "http://127.0.0.1/", "wss://", "ws://"] {
        let ended = run(ringway(&["load", url]));
        assert_eq!(ended.status.code(), Some(2), "{url}: {ended:?}");
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

/// A handler that counts the messages that it echoes.
#[derive(Default)]
struct Counting(u64);

impl Handler for Counting {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        self.0 += 1;
        conn.reply(message);
    }
}

#[test]
fn a_signal_ends_it_with_a_report_of_the_measured_part() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let server = TestServer::start(config(), Limits::default(), |_| Counting::default());
        let child = start(load(server.address(), &["-c", "2", "-d", "1h", "-w", "0", "--format=json"]));
        server.wait_until("messages flow", |counting, _| counting.0 > 100);
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let report = report(&finish(child), code);
        assert_eq!((&report["interrupted"], &report["errors"]), (&true.into(), &serde_json::json!({})));
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
    assert_eq!((&report["connections"]["failed"], &report["errors"]), (&0.into(), &serde_json::json!({})));
    assert_eq!((&report["interrupted"], &report["measured_seconds"]), (&true.into(), &0.0.into()));
    let generator = &report["generator"];
    assert_eq!((&generator["threads"], &generator["cpu_seconds"]), (&1.into(), &0.0.into()));
    assert_eq!(generator["busy_share"], serde_json::json!([0.0]));
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
        assert!(line.contains("may have 100") && line.contains("ulimit -n 1064"), "{line}");
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
    for word in
        ["0 success", "1 a connection did not open", "4 messages were requested", "130/143", "'inconclusive' is not"]
    {
        assert!(help.split_whitespace().collect::<Vec<_>>().join(" ").contains(word), "{word:?} in {help}");
    }
}
