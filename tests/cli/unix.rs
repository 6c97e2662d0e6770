//! `serve --listen unix:PATH` and `load unix:PATH:/URI`.

use ringway_tests::{Ended, ServerProcess, TestDirectory, WirePeer, ringway, run};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

fn url(path: &Path) -> String {
    format!("unix:{}", path.display())
}

fn serve(path: &Path, arguments: &[&str]) -> ServerProcess {
    ServerProcess::start(ringway(&[&["serve", "--listen", &url(path)], arguments].concat()))
}

fn echo(path: &Path) {
    let mut peer = WirePeer::connect_unix(path);
    peer.upgrade();
    peer.expect_echo("hello");
}

/// Starts a server that cannot listen.
fn refused(path: &Path) -> Ended {
    run(ringway(&["serve", "--listen", &url(path)]))
}

/// The line that it prints.
fn refusal(path: &Path) -> String {
    refused(path).line(1).to_owned()
}

#[test]
fn a_server_on_a_unix_socket_echoes_and_removes_its_file_at_the_end() {
    let directory = TestDirectory::new("cli-serve");
    let path = directory.file("app.sock");
    let serving = serve(&path, &["--listen", "127.0.0.1:0", "--shards", "2"]);
    assert_eq!(serving.announced[0], format!("listening on unix:{}", path.display()));
    echo(&path);
    WirePeer::open(serving.address()).expect_echo("and on TCP");
    serving.signal(Signal::TERM);
    assert_eq!(serving.wait().0.code(), Some(0));
    assert!(directory.files().is_empty(), "{:?}", directory.files());
}

#[test]
fn load_measures_a_server_on_a_unix_socket() {
    let directory = TestDirectory::new("cli-load");
    let path = directory.file("app.sock");
    let serving = serve(&path, &["--shards", "1"]);
    let target = format!("{}:/echo?x=1", url(&path));
    let arguments = ["-c", "20", "-n", "2000", "-w", "0", "-t", "1", "--verify", "all", "--format", "json"];
    let ended = run(ringway(&[&["load", &target], &arguments[..]].concat()));
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["plan"]["targets"][0]["url"], target);
    assert_eq!((&report["messages"]["received"], &report["connections"]["established"]), (&2000.into(), &20.into()));
    assert_eq!(report["server"]["pid"], serving.pid());
    let large = ["-c", "2", "-n", "20", "-w", "0", "-t", "1", "-s", "1M", "--verify", "all"];
    let ended = run(ringway(&[&["load", &target], &large[..]].concat()));
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
fn a_load_without_a_server_fails_and_names_the_cause() {
    let directory = TestDirectory::new("cli-none");
    let target = format!("{}:/", url(&directory.file("none.sock")));
    let ended = run(ringway(&["load", &target, "-c", "2"]));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("none of 2") && ended.stderr.contains("No such file"), "{ended:?}");
    let ended = run(ringway(&["load", "unix::/chat"]));
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("is empty"), "{ended:?}");
}

#[test]
fn the_file_of_a_killed_server_is_replaced() {
    let directory = TestDirectory::new("cli-stale");
    let path = directory.file("app.sock");
    let killed = serve(&path, &["--shards", "1"]);
    killed.signal(Signal::KILL);
    killed.wait();
    assert_eq!(directory.files(), ["app.sock"]);
    let serving = serve(&path, &["--shards", "1"]);
    echo(&path);
    drop(serving);
}

#[test]
fn a_server_that_runs_is_named_and_keeps_serving() {
    let directory = TestDirectory::new("cli-taken");
    let path = directory.file("app.sock");
    let serving = serve(&path, &["--shards", "1"]);
    let line = refusal(&path);
    let expected = format!("cannot listen on {}: process {} listens there", url(&path), serving.pid());
    assert!(line.contains(&expected) && line.contains("choose another path"), "{line}");
    echo(&path);
}

#[test]
fn paths_that_cannot_be_listened_on_are_named_with_the_remedy() {
    let directory = TestDirectory::new("cli-refused");
    let path = directory.file("notes.txt");
    fs::write(&path, "precious").expect("the directory is ours");
    let line = refusal(&path);
    assert!(line.contains("a regular file") && line.contains("remove it"), "{line}");
    assert_eq!(fs::read(&path).expect("it is still there"), b"precious");
    let line = refusal(&directory.file("none").join("app.sock"));
    assert!(line.contains("there is no directory") && line.contains("create it"), "{line}");
    let line = refusal(Path::new("/sys/kernel/ringway.sock"));
    assert!(line.contains("no permission to create a file in /sys/kernel"), "{line}");
    let ended = refused(&directory.file(&"a".repeat(108)));
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("at most 107 bytes"), "{ended:?}");
}

#[test]
fn the_file_gets_its_mode_and_owner() {
    let directory = TestDirectory::new("cli-mode");
    let path = directory.file("app.sock");
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = format!("--unix-owner={user}:{group}");
    let _serving = serve(&path, &["--unix-mode", "606", &owner, "--shards", "1"]);
    let file = fs::metadata(&path).expect("the file");
    assert_eq!((file.permissions().mode() & 0o7777, file.uid(), file.gid()), (0o606, user, group));
}

#[test]
fn options_of_unix_sockets_need_one() {
    let ended = run(ringway(&["serve", "--listen", "127.0.0.1:0", "--unix-mode", "660"]));
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("--listen unix:"), "{ended:?}");
    let ended = run(ringway(&["serve", "--listen", "unix:@x", "--unix-owner", "no-such-user"]));
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("there is no user"), "{ended:?}");
}

#[test]
fn a_server_does_not_remove_the_file_of_another() {
    let directory = TestDirectory::new("cli-replaced");
    let path = directory.file("app.sock");
    let serving = serve(&path, &["--shards", "1"]);
    fs::remove_file(&path).expect("the directory is ours");
    let _other = UnixListener::bind(&path).expect("the path is free");
    serving.signal(Signal::TERM);
    assert_eq!(serving.wait().0.code(), Some(0));
    assert_eq!(directory.files(), ["app.sock"]);
}
