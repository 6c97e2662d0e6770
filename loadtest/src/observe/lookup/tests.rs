//! Tests with sockets of this process, and in a process of another user or namespace.

use super::*;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// The environment variable with the target that a process of the tests looks for.
const TARGET: &str = "RINGWAY_TEST_TARGET";

/// The environment variable with the path that a process of the tests listens on.
const LISTEN: &str = "RINGWAY_TEST_LISTEN";

fn me() -> Vec<u32> {
    vec![std::process::id()]
}

/// Searches until nothing listens on the target. The processes that other tests start have the
/// sockets of this one for an instant, until they run their program.
fn find_until_closed(target: &Address) -> Unknown {
    loop {
        match find(target) {
            Err(why @ (Unknown::NotListening(_) | Unknown::Elsewhere(_))) => return why,
            _ => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_listening_process_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    assert_eq!(find(&address.into()), Ok(me()));
}

#[test]
fn a_process_that_listens_on_a_unix_socket_is_found() {
    let path = std::env::temp_dir().join(format!("ringway-loadtest-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).expect("the path is free");
    let address = Address::from(UnixAddress::from_path(&path).expect("short"));
    assert_eq!(find(&address), Ok(me()));
    drop(listener);
    assert_eq!(find_until_closed(&address), Unknown::NotListening(address.to_string()));
    std::fs::remove_file(&path).expect("ours");
    let name = format!("ringway-loadtest-{}", std::process::id());
    let abstract_name = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("short");
    let _listener = UnixListener::bind_addr(&abstract_name).expect("the name is free");
    assert_eq!(find(&Address::from(UnixAddress::from_abstract_name(&name).expect("short"))), Ok(me()));
}

#[test]
fn the_reason_tells_another_machine_from_a_port_without_listener() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let local = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(find_until_closed(&local.into()), Unknown::NotListening(local.to_string()));
    // TEST-NET-1 is assigned to no host (RFC 5737).
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], port));
    assert_eq!(find(&elsewhere.into()), Err(Unknown::Elsewhere(elsewhere.to_string())));
}

#[test]
fn the_reason_of_an_unreadable_process_follows_from_user_and_permission() {
    let target = Address::from(SocketAddr::from(([127, 0, 0, 1], 9)));
    let sockets = |user| Sockets::from([(7, user)]);
    let of = |user, denied, me| reason(&target, &sockets(user), denied, me);
    let text = target.to_string();
    let another = |user| Unknown::AnotherUser { target: text.clone(), user };
    assert_eq!(of(Some(0), true, 1000), another(0));
    assert_eq!(of(Some(0), false, 1000), another(0), "hidepid hides the processes of others");
    assert_eq!(of(Some(1000), true, 1000), Unknown::Denied(text.clone()));
    assert_eq!(of(Some(33), true, 0), another(33), "root of a container without CAP_SYS_PTRACE");
    assert_eq!(of(Some(33), false, 0), Unknown::PidNamespace(text.clone()));
    assert_eq!(of(None, true, 1000), Unknown::Denied(text.clone()));
    assert_eq!(of(Some(1000), false, 1000), Unknown::PidNamespace(text));
}

#[test]
fn a_local_address_of_a_trie_is_a_leaf_with_a_host_route() {
    let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.2\n        /32 host LOCAL\n     \
                |-- 10.0.0.255\n        /32 link BROADCAST\n";
    assert!(trie_has(trie, "10.0.0.2"));
    assert!(!trie_has(trie, "10.0.0.0") && !trie_has(trie, "10.0.0.255") && !trie_has(trie, "0.0.0.2"));
    assert!(!trie_has("", "10.0.0.2"));
}

#[test]
fn wildcards_accept_what_comes_to_their_port() {
    let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
    for (local, target, expected) in [
        ("0.0.0.0:80", "127.0.0.1:80", true),
        ("0.0.0.0:80", "[::1]:80", false),
        ("[::]:80", "127.0.0.1:80", true),
        ("[::]:80", "[::1]:80", true),
        ("127.0.0.1:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "127.0.0.2:80", false),
        ("127.0.0.1:80", "127.0.0.1:81", false),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
    ] {
        assert_eq!(accepts(at(local), at(target)), expected, "{local} {target}");
    }
}

/// Not a test by itself: prints the result of a search in a process that another test starts.
#[test]
#[ignore = "other tests start it in a process of its own"]
fn search_in_a_process_of_its_own() {
    let target: SocketAddr = std::env::var(TARGET).expect("set by the test").parse().expect("an address");
    println!("found: {:?}", find(&target.into()));
}

/// Not a test by itself: listens until its standard input ends.
#[test]
#[ignore = "other tests start it in a process of its own"]
fn listen_in_a_process_of_its_own() {
    let _listener = UnixListener::bind(std::env::var(LISTEN).expect("set by the test")).expect("the path is free");
    println!("listening");
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// This program, with one of the ignored tests, started by `wrapper`.
fn start(wrapper: &[&str], test: &str) -> Command {
    let program = std::env::current_exe().expect("it has a path");
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(program).args(["--exact", &format!("observe::lookup::tests::{test}")]);
    command.args(["--ignored", "--nocapture"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Whether this machine runs a program under `wrapper`, which takes root and util-linux.
fn is_possible(wrapper: &[&str]) -> bool {
    let mut command = Command::new(wrapper[0]);
    let possible =
        command.args(&wrapper[1..]).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !possible {
        eprintln!("NOT TESTED: {wrapper:?} takes root and util-linux");
    }
    possible
}

#[test]
fn a_process_of_another_user_is_unknown_with_its_user() {
    let wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    if !is_possible(&wrapper) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let output = start(&wrapper, "search_in_a_process_of_its_own").env(TARGET, &address).output().expect("it starts");
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    if !output.contains("running 1 test") {
        return eprintln!("NOT TESTED: user 65534 may not run {:?}", std::env::current_exe());
    }
    assert!(output.contains(&format!("Err(AnotherUser {{ target: {address:?}, user: 0 }})")), "{output}");
}

#[test]
fn a_server_in_another_network_namespace_is_found_if_it_may_be_inspected() {
    use std::io::{BufRead, BufReader};
    let wrapper = ["unshare", "--net"];
    if !is_possible(&wrapper) {
        return;
    }
    // A Unix socket can be reached from all network namespaces, and is listed in one.
    let path = std::env::temp_dir().join(format!("ringway-loadtest-{}-netns.sock", std::process::id()));
    let mut child = start(&wrapper, "listen_in_a_process_of_its_own").env(LISTEN, &path).spawn().expect("it starts");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let ready = stdout.lines().map_while(Result::ok).any(|line| line.contains("listening"));
    let found = find(&Address::from(UnixAddress::from_path(&path).expect("short")));
    drop(child.stdin.take());
    child.wait().expect("it ends");
    std::fs::remove_file(&path).expect("ours");
    assert!(ready);
    assert_eq!(found, Ok(vec![child.id()]));
}
