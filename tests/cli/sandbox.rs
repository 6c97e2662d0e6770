//! `ringway serve` under the restrictions of the files in `deploy`.

use crate::seccomp::{allowed_by_unit, deployed, directives, errno, exists, filter, of_profile, ringway_under};
use crate::tls::{Ca, address, text, wait_for_certificate};
use ringway_tests::tls::TlsPeer;
use ringway_tests::{End, Frame, Received, ServerProcess, TestDirectory, WirePeer, program, ringway, run};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
const EAFNOSUPPORT: i32 = 97;

/// The flags of clone(2) that make namespaces.
const NAMESPACES: u64 = 0x7e02_0000;

fn profile() -> Value {
    serde_json::from_str(&deployed("container/seccomp.json")).expect("JSON")
}

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--shards", "2"];

/// Starts `ringway serve` under the filters.
fn serve(filters: &[Value], arguments: &[&str]) -> ServerProcess {
    ServerProcess::start(ringway_under(filters, &[&SERVE, arguments].concat()))
}

/// Checks the driver, and exchanges messages of all sizes with the server, without and with
/// compression.
fn load(serving: &ServerProcess, driver: &str, url: &str, arguments: &[&str]) {
    let announced = serving.announced.iter().find_map(|line| line.strip_prefix("driver"));
    assert!(announced.is_some_and(|line| line.trim().starts_with(driver)), "{:?}", serving.announced);
    let load = [&["load", url, "-c20", "-t1", "-p4", "-n2000", "-s1-20K", "-w0", "--verify=all"], arguments].concat();
    for arguments in [&load[..], &[&load[..], &["--deflate"]].concat()] {
        let ended = run(ringway(arguments));
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }
}

fn expect_success(serving: ServerProcess) {
    let (status, stderr) = serving.wait();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

/// Exchanges messages of all kinds with the server, and stops it by a signal. `open` opens a
/// WebSocket without TLS.
fn use_and_stop_at(serving: ServerProcess, driver: &str, url: &str, open: impl Fn() -> WirePeer) {
    load(&serving, driver, url, &[]);
    let mut peer = open();
    peer.send(&Frame::binary(vec![1; 8 << 20]));
    assert_eq!(peer.frame(), Received::binary(vec![1; 8 << 20]));
    open().reset();
    serving.signal(Signal::TERM);
    assert_eq!(peer.close_code(), Some(1001));
    peer.send(&Frame::close(1001, ""));
    assert_eq!(peer.end(), End::Finished);
    expect_success(serving);
}

/// As [`use_and_stop_at`], on TCP.
fn use_and_stop(serving: ServerProcess, driver: &str) {
    let address = serving.address();
    use_and_stop_at(serving, driver, &format!("ws://{address}/"), || WirePeer::open(address));
}

/// Serves on a Unix socket: makes its file, replaces the file of a killed server, and removes it.
fn use_and_stop_on_unix(test: &str, filters: &[Value], driver: &str, arguments: &[&str]) {
    let directory = TestDirectory::new(test);
    let path = directory.file("app.sock");
    let url = format!("unix:{}", path.display());
    let serve = [&["serve", "--listen", &url, "--shards=2", "--unix-mode=660"], arguments].concat();
    let serve = || ServerProcess::start(ringway_under(filters, &serve));
    let killed = serve();
    killed.signal(Signal::KILL);
    killed.wait();
    assert_eq!(directory.files(), ["app.sock"]);
    let serving = serve();
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o660);
    use_and_stop_at(serving, driver, &format!("{url}:/"), || {
        let mut peer = WirePeer::connect_unix(&path);
        peer.upgrade();
        peer
    });
    assert!(directory.files().is_empty(), "{:?}", directory.files());
}

/// Serves with TLS, and reloads the certificate.
fn use_and_stop_with_tls(filters: &[Value], driver: &str, arguments: &[&str]) {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let root = ca.folder.write("root.pem", ca.root.pem());
    let flags = ca.flags(&["server"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    let serving = serve(filters, &flags);
    let url = format!("wss://{}/", address(&serving));
    load(&serving, driver, &url, &["--cacert", text(&root), "--servername=localhost"]);
    let mut peer = TlsPeer::open(address(&serving), &ca.root.pem());
    let second = ca.write("server", &["localhost"]);
    serving.signal(Signal::HUP);
    wait_for_certificate(&serving, &ca, &second);
    peer.expect_echo("after the reload");
    serving.signal(Signal::TERM);
    let close = peer.data(4);
    assert_eq!((close[0], &close[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
    peer.send(&Frame::close(1001, ""));
    assert_eq!(peer.alert(), 0, "close_notify");
    assert_eq!(peer.end(), End::Finished);
    expect_success(serving);
}

#[test]
fn the_server_works_under_the_seccomp_profile_of_the_container() {
    use_and_stop(serve(&of_profile(&profile()), &["--deflate"]), "io_uring");
}

#[test]
fn the_epoll_driver_works_under_the_profile() {
    use_and_stop(serve(&of_profile(&profile()), &["--deflate", "--driver=epoll"]), "epoll");
}

#[test]
fn tls_works_under_the_profile() {
    let filters = of_profile(&profile());
    use_and_stop_with_tls(&filters, "io_uring", &["--deflate"]);
    use_and_stop_with_tls(&filters, "epoll", &["--deflate", "--driver=epoll"]);
}

#[test]
fn unix_sockets_work_under_the_profile() {
    let filters = of_profile(&profile());
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = format!("--unix-owner={user}:{group}");
    use_and_stop_on_unix("profile-uring", &filters, "io_uring", &["--deflate", &owner]);
    use_and_stop_on_unix("profile-epoll", &filters, "epoll", &["--deflate", "--driver=epoll", &owner]);
}

#[test]
fn hand_overs_work_under_the_profile() {
    let filters = of_profile(&profile());
    let directory = TestDirectory::new("profile-handover");
    let path = directory.file("handover.sock");
    for driver in ["uring", "epoll"] {
        let arguments = ["serve", "--handover", text(&path), "--driver", driver, "--listen", "127.0.0.1:0"];
        let start = || ServerProcess::start(ringway_under(&filters, &arguments));
        let old = start();
        let mut peer = WirePeer::open(old.address());
        let new = start();
        assert_eq!((new.address(), peer.close_code()), (old.address(), Some(1012)));
        peer.send(&Frame::close(1012, ""));
        expect_success(old);
        WirePeer::open(new.address()).expect_echo("served by the new process");
        new.signal(Signal::TERM);
        expect_success(new);
    }
}

/// A thread makes these calls for the kernel's vDSO while another one still looks it up.
#[test]
fn the_profile_allows_the_calls_of_the_vdso() {
    let profile = profile();
    let groups = profile["syscalls"].as_array().expect("groups");
    let allowed: Vec<&Value> = groups.iter().flat_map(|group| group["names"].as_array().expect("names")).collect();
    for call in ["clock_getres", "clock_gettime", "getcpu", "gettimeofday"] {
        assert!(allowed.contains(&&Value::from(call)), "{call}");
    }
}

/// The command that the image runs, as the engine starts it.
#[test]
fn the_health_check_of_the_image_works_under_the_profile() {
    let filters = of_profile(&profile());
    let serving = serve(&filters, &[]);
    let dockerfile = deployed("container/Dockerfile");
    let (_, check) = dockerfile.split_once("HEALTHCHECK").expect("the image has one");
    let (_, check) = check.split_once("CMD ").expect("it is a command");
    let words: Vec<String> = serde_json::from_str(check.lines().next().expect("a line")).expect("the exec form");
    let check = |address: &str| {
        let url = format!("ws://{address}/");
        let arguments = words[1..].iter().map(|word| if word.starts_with("ws://") { url.as_str() } else { word });
        run(ringway_under(&filters, &arguments.collect::<Vec<_>>()))
    };
    assert!(words[0].ends_with("/ringway") && words[2] == "ws://127.0.0.1:9001/", "{words:?}");
    let address = serving.address().to_string();
    let served = check(&address);
    assert_eq!(served.status.code(), Some(0), "{served:?}");
    drop(serving);
    let gone = check(&address);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

/// The test of the tests above: the filter they apply is in effect.
#[test]
fn the_profile_without_io_uring_is_reported_as_the_cause() {
    let mut profile = profile();
    for group in profile["syscalls"].as_array_mut().expect("a list of groups") {
        let names = group["names"].as_array_mut().expect("a list of names");
        names.retain(|name| name != "io_uring_setup");
    }
    let serve = [&SERVE[..], &["--driver", "uring"]].concat();
    let ended = run(ringway_under(&of_profile(&profile), &serve));
    let line = ended.line(1);
    assert!(line.contains("io_uring is unavailable") && line.contains("seccomp"), "{line}");
}

#[test]
fn the_profile_allows_no_call_that_changes_the_system_or_other_processes() {
    let profile = profile();
    let groups = profile["syscalls"].as_array().expect("a list of groups");
    let names = |action: &str| -> Vec<&str> {
        let groups = groups.iter().filter(|group| group["action"] == action);
        groups.flat_map(|group| group["names"].as_array().expect("names")).filter_map(Value::as_str).collect()
    };
    let allowed = names("SCMP_ACT_ALLOW");
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "clone", "execve"] {
        assert!(allowed.contains(&call), "{call}");
    }
    for call in [
        "bpf",
        "chroot",
        "delete_module",
        "finit_module",
        "fsmount",
        "init_module",
        "kexec_load",
        "keyctl",
        "mount",
        "open_by_handle_at",
        "perf_event_open",
        "pivot_root",
        "process_vm_writev",
        "ptrace",
        "reboot",
        "setns",
        "settimeofday",
        "swapon",
        "umount2",
        "unshare",
        "userfaultfd",
    ] {
        assert!(exists(call) && !allowed.contains(&call), "{call}");
    }
    // With clone3, whose flags a filter cannot read, namespaces could be made.
    assert_eq!(names("SCMP_ACT_ERRNO"), ["clone3"]);
    let clone = groups.iter().find(|group| group["names"] == json!(["clone"])).expect("a group of its own");
    assert_eq!(clone["args"], json!([{ "index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]));
}

/// The restrictions of the unit that are seccomp filters, applied as systemd.exec(5) documents them.
#[test]
fn the_server_works_under_the_filters_of_the_systemd_unit() {
    let unit = deployed("systemd/ringway.service");
    let Some(allowed) = allowed_by_unit(&unit) else {
        return eprintln!("NOT TESTED: the filters of the unit, because systemd-analyze is not installed");
    };
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(allowed.contains(call), "{call}");
    }
    assert!(!allowed.contains("ptrace") && !allowed.contains("mount"));
    // ExecReload= runs under the same filters.
    assert!(allowed.contains("kill"));
    for directive in ["MemoryDenyWriteExecute", "RestrictNamespaces", "RestrictRealtime", "LockPersonality"] {
        assert_eq!(directives(&unit, directive), ["yes"], "{directive}");
    }
    assert_eq!(directives(&unit, "SystemCallErrorNumber"), ["EPERM"]);
    assert_eq!(directives(&unit, "RestrictAddressFamilies"), ["AF_INET AF_INET6 AF_UNIX"]);
    let masked = |call: &str, index: u8, mask: u64, value: u64| json!({ "syscall": call, "args": [{ "index": index, "type": "qword", "op": { "masked_eq": mask }, "val": value }] });
    // mmap and mprotect: the protection is the third argument, 2 is PROT_WRITE and 4 is PROT_EXEC.
    let write_execute = [masked("mmap", 2, 6, 6), masked("mprotect", 2, 4, 4), masked("pkey_mprotect", 2, 4, 4)];
    // socket: the family is the first argument; AF_UNIX is 1, AF_INET is 2, AF_INET6 is 10.
    let other = |family: u64| json!({ "index": 0, "type": "dword", "op": "ne", "val": family });
    let families = [json!({ "syscall": "socket", "args": [other(1), other(2), other(10)] })];
    let each_bit = |mask: u64| (0..64).map(move |bit| mask & 1 << bit).filter(|bit| *bit != 0);
    let mut namespaces: Vec<Value> = each_bit(NAMESPACES).map(|bit| masked("clone", 0, bit, bit)).collect();
    namespaces.extend(["unshare", "setns"].map(|call| json!({ "syscall": call })));
    let denied = ["sched_setscheduler", "personality"].map(|call| json!({ "syscall": call }));
    // systemd lists the calls of all architectures.
    let allowed = allowed.iter().filter(|call| exists(call)).map(|call| json!({ "syscall": call }));
    let allowed: Vec<Value> = allowed.collect();
    let allow = json!("allow");
    let filters = [
        filter(&allow, &errno(EPERM), &write_execute),
        filter(&allow, &errno(EAFNOSUPPORT), &families),
        filter(&allow, &errno(EPERM), &namespaces),
        filter(&allow, &errno(ENOSYS), &[json!({ "syscall": "clone3" })]),
        filter(&allow, &errno(EPERM), &denied),
        filter(&errno(EPERM), &allow, &allowed),
    ];
    use_and_stop(serve(&filters, &["--deflate"]), "io_uring");
    use_and_stop(serve(&filters, &["--deflate", "--driver=epoll"]), "epoll");
    use_and_stop_with_tls(&filters, "io_uring", &["--deflate"]);
    use_and_stop_on_unix("unit", &filters, "io_uring", &["--deflate"]);
}

/// The drop-in for TLS, with a folder of the test in the place of systemd's copies.
#[test]
fn the_drop_in_of_the_unit_has_the_flags_and_the_reload_of_tls() {
    let drop_in = deployed("systemd/tls.conf");
    let files = ["tls.pem", "tls.key"];
    assert_eq!(directives(&drop_in, "LoadCredential"), files.map(|file| format!("{file}:/etc/ringway/{file}")));
    let [reset, start] = directives(&drop_in, "ExecStart")[..] else { panic!("two lines in {drop_in}") };
    assert_eq!(reset, "", "the command of the unit is replaced");
    let ca = Ca::new();
    ca.write("tls", &["localhost"]);
    let folder = ca.folder.path("tls.pem");
    let folder = text(folder.parent().expect("a folder"));
    let start = start.replace("%d", folder).replace("0.0.0.0:9001", "127.0.0.1:0");
    let (program, arguments) = start.split_once(' ').expect("a command with arguments");
    assert_eq!(program, "/usr/local/bin/ringway");
    let serving = ServerProcess::start(ringway(&arguments.split(' ').collect::<Vec<_>>()));
    let mut peer = TlsPeer::open(address(&serving), &ca.root.pem());

    let second = ca.write("tls", &["localhost"]);
    let [reload] = directives(&drop_in, "ExecReload")[..] else { panic!("one ExecReload in {drop_in}") };
    let mut shell = Command::new("sh");
    shell.args(["-c", reload]).env("MAINPID", serving.pid().to_string());
    assert_eq!(run(shell).status.code(), Some(0));
    wait_for_certificate(&serving, &ca, &second);
    peer.expect_echo("after the reload");
}

#[test]
fn the_unit_has_no_reload_because_sighup_ends_a_server_without_tls() {
    assert!(directives(&deployed("systemd/ringway.service"), "ExecReload").is_empty());
    // A manager starts services with the default actions. The tests may run under nohup(1).
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(program()).args(SERVE);
    let serving = ServerProcess::start(command);
    serving.signal(Signal::HUP);
    assert_eq!(serving.wait().0.signal(), Some(Signal::HUP.as_raw()));
}
