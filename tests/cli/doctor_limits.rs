//! `ringway doctor` under limits that the test sets: descriptors, locked memory, cgroups, and the
//! sysctls of a network namespace.

use crate::doctor::{check, report, with_report};
use ringway_tests::{Ended, ServerProcess, TestDirectory, program, ringway, ringway_after, run};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command, started by a shell with these words, of which `script` is the last but one: it runs
/// in what they set up, and becomes the program.
fn within(words: &[&str], script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["sh", "-c"]).arg(format!("{script} && exec \"$0\" \"$@\"")).arg(program());
    command.args(arguments);
    command
}

fn works(mut command: Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_low_limit_of_open_files_is_the_first_limit() {
    let ended = run(ringway_after("ulimit -n 500", &with_report(&[])));
    let limited = report(&ended);
    let hard = check(&limited, "descriptors.hard");
    assert_eq!((&hard["value"], &limited["summary"]["limited_by"]), (&"500".into(), &"descriptors.hard".into()));
    let shards = limited["goal"]["shards"].as_u64().expect("a number");
    assert_eq!(hard["connections"], 500 - 48 - 3 * shards, "a ring, a waker and a listener for each shard");
    assert_eq!(limited["summary"]["connections"], hard["connections"]);
    let text = run(ringway_after("ulimit -n 500", &["doctor", "--for", "10k"]));
    assert_eq!(text.status.code(), Some(1), "{text:?}");
    assert!(text.stdout.lines().nth(1).is_some_and(|line| line.starts_with("  short   open files, hard limit: 500, ")));
    let needed = 10_000 + 48 + 3 * shards;
    assert!(text.stdout.contains(&format!("→ LimitNOFILE={needed}   # in the unit of a service")), "{text:?}");
    let unit = run(ringway_after("ulimit -n 500", &["doctor", "--for", "10k", "--fix", "systemd"]));
    assert!(unit.stdout.contains(&format!("# now 500\nLimitNOFILE={needed}\n")), "{unit:?}");
}

/// The limit of open files that the printed unit has.
fn printed_files(arguments: &[&str]) -> u64 {
    let unit = run(ringway_after("ulimit -n 200", &[&["doctor", "--fix", "systemd"], arguments].concat()));
    let line = unit.stdout.lines().find_map(|line| line.strip_prefix("LimitNOFILE="));
    line.unwrap_or_else(|| panic!("{unit:?}")).parse().expect("a number")
}

/// With exactly the printed limit the programs hold the target, and with one file less they do not.
#[test]
fn the_printed_limit_of_open_files_is_what_the_programs_need() {
    let files = printed_files(&["--for=300"]);
    let held = |files: u64| {
        let serving =
            ServerProcess::start(ringway_after(&format!("ulimit -n {files}"), &["serve", "--listen=127.0.0.1:0"]));
        let line = serving.announced.last().expect("the line of the connections").clone();
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number")
    };
    assert_eq!((held(files), held(files - 1)), (300, 299));

    let server = ServerProcess::with(&["--shards=1"]);
    let url = format!("ws://{}/", server.address());
    let files = printed_files(&["--for=300", "--role=client"]);
    let load = |files: u64| {
        let load = ["load", &url, "-c=300", "-n=300", "-w=0"];
        run(ringway_after(&format!("ulimit -n {files}"), &load))
    };
    assert_eq!(load(files).status.code(), Some(0));
    assert!(load(files - 1).line(1).contains("300 connections need"), "one file is missing");
}

/// Without procfs and sysfs, nothing can be known but what a trial shows.
#[test]
fn without_procfs_and_sysfs_each_check_has_the_reason() {
    let words = ["unshare", "--map-root-user", "--mount"];
    let script = "mount -t tmpfs tmpfs /sys && mount -t tmpfs tmpfs /proc";
    if !works(within(&words, script, &["--version"])) {
        return eprintln!("NOT TESTED: this user may have no mount namespace of its own");
    }
    let found = report(&run(within(&words, script, &with_report(&["--for=1m"]))));
    let unknown = found["checks"].as_array().expect("a list").iter().filter(|check| check["state"] == "unknown");
    let reasons: Vec<&str> = unknown.filter_map(|check| check["allows"].as_str()).collect();
    assert!(
        reasons.len() > 30 && reasons.iter().all(|why| why.contains("/proc/") || why.contains("/sys/")),
        "{reasons:?}"
    );
    assert!(found["summary"]["text"].as_str().is_some_and(|text| text.contains("as far as its limits are known")));
    assert_eq!(check(&found, "ring.support")["state"], "good", "it was tried");
}

/// What `serve` raises itself is no limit.
#[test]
fn a_low_soft_limit_is_good() {
    let limited = report(&run(ringway_after("ulimit -Sn 128", &with_report(&["--for=1000"]))));
    let soft = check(&limited, "descriptors.soft");
    assert_eq!((&soft["value"], &soft["state"]), (&"128".into(), &"good".into()));
    assert!(soft["allows"].as_str().is_some_and(|text| text.contains("raise it themselves")), "{soft}");
    assert_eq!(limited["summary"]["ready"], true, "{limited:#}");
}

/// The memory that doctor says a ring needs is what the kernel asks for. Each run has a user of its
/// own, because the kernel counts by user and releases rings late.
#[test]
fn too_little_locked_memory_is_short_where_a_server_does_not_start() {
    // Users that no other run of this test has at the same time.
    let first = 100_000 + 8 * std::process::id();
    let as_user = |user: u32, kibibytes: u64, arguments: &[&str]| {
        let user = (first + user).to_string();
        let words = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps=-all"];
        // The shell of the new user cannot raise what it lowers, so that it is lowered before.
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -l {kibibytes} && exec \"$0\" \"$@\"")).args(words);
        command.arg(program()).args(arguments);
        command
    };
    if !is_root() || !works(as_user(0, 0, &["--version"])) {
        return eprintln!("NOT TESTED: without root, or where others may not run the program, there is no other user");
    }
    let told = report(&run(ringway(&with_report(&[]))));
    let shards = told["goal"]["shards"].as_u64().expect("a number");
    let detail = check(&told, "ring.locked_memory")["detail"].as_str().expect("text");
    assert!(detail.contains("140 KiB"), "a shard of the default options: {detail}");
    // 35 pages for each shard, and 3 for the self-test.
    let needed = 4 * (35 * shards + 3);
    let shards = format!("--shards={shards}");
    let serve = |user: u32, kibibytes: u64| {
        let serve = ["serve", "--listen=127.0.0.1:0", "--driver=uring", "--stop-with-stdin", &shards];
        run(as_user(user, kibibytes, &serve))
    };
    // The kernel may release the rings of self-tests after those of the shards are made. The rings of
    // the shards alone are needed in any case.
    let (ample, too_little) = (needed + 4 * 24, needed - 4 * 4);
    let enough = report(&run(as_user(1, needed, &with_report(&[]))));
    assert_eq!(check(&enough, "ring.locked_memory")["state"], "good");
    let served = serve(2, ample);
    assert_eq!(served.status.code(), Some(0), "{served:?}");
    let refused = serve(3, too_little);
    let is_counted = refused.status.code() == Some(1);
    let short = report(&run(as_user(4, needed - 4, &with_report(&[]))));
    let state = &check(&short, "ring.locked_memory")["state"];
    assert_eq!(state, if is_counted { "short" } else { "good" }, "{refused:?} {short:#}");
    if !is_counted {
        eprintln!("NOT TESTED: too little locked memory, which this kernel does not count");
    }
}

/// A cgroup that is removed when it is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// A cgroup below that of this process, in the hierarchy of `controller`, and whether it is of
    /// version 2. The reason, if there can be none.
    fn below_own(controller: &str) -> Result<(Self, bool), String> {
        let own = fs::read_to_string("/proc/self/cgroup").expect("procfs");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
        let path = |wanted: &dyn Fn(&str) -> bool| {
            let line = own.lines().find(|line| line.split(':').nth(1).is_some_and(wanted))?;
            line.splitn(3, ':').nth(2).map(str::to_owned)
        };
        let mount = |kind: &str, option: &str| {
            let line = mounts.lines().find(|line| {
                let (_, rest) = line.split_once(" - ").unwrap_or_default();
                rest.starts_with(kind) && (option.is_empty() || rest.split([' ', ',']).any(|word| word == option))
            })?;
            line.split(' ').nth(4).map(str::to_owned)
        };
        let v1 = path(&|names| names.split(',').any(|name| name == controller)).zip(mount("cgroup ", controller));
        let v2 = path(&str::is_empty).zip(mount("cgroup2 ", ""));
        let (found, is_v2) = match (v1, v2) {
            (Some(v1), _) => (v1, false),
            (None, Some(v2)) => (v2, true),
            (None, None) => return Err(format!("no cgroup has the controller {controller}")),
        };
        let parent = Path::new(&found.1).join(found.0.trim_start_matches('/'));
        let path = parent.join(format!("ringway-doctor-{}-{controller}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((Self(path), is_v2))
    }

    fn set(&self, file: &str, value: &str) -> Result<(), String> {
        let path = self.0.join(file);
        fs::write(&path, value).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// `ringway` in the cgroup.
    fn run(&self, arguments: &[&str]) -> Ended {
        let join = format!("echo $$ > '{}/cgroup.procs'", self.0.display());
        run(ringway_after(&join, arguments))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes have ended.
        fs::remove_dir(&self.0).unwrap_or_else(|error| panic!("{}: {error}", self.0.display()));
    }
}

#[test]
fn a_memory_limit_of_a_cgroup_is_found() {
    let limited = Cgroup::below_own("memory").and_then(|(cgroup, is_v2)| {
        let file = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        cgroup.set(file, "268435456").map(|()| cgroup)
    });
    let cgroup = match limited {
        Ok(cgroup) => cgroup,
        Err(why) => return eprintln!("NOT TESTED: a real memory limit, because {why}"),
    };
    let found = report(&cgroup.run(&with_report(&["--for=200k"])));
    let memory = check(&found, "cgroup.memory");
    assert_eq!((&memory["value"], &memory["state"]), (&"256 MiB".into(), &"short".into()));
    let each = found["goal"]["bytes_per_connection"].as_u64().expect("a number");
    assert_eq!(memory["connections"], 268_435_456 / 100 * 90 / each);
    assert!(found["fix"]["systemd"]["MemoryMax"].is_string(), "{found:#}");
    let path = check(&found, "cgroup.own")["value"].as_str().expect("text");
    assert!(path.ends_with(cgroup.0.file_name().and_then(|name| name.to_str()).expect("ASCII")), "{path}");
}

#[test]
fn a_cpu_quota_of_a_cgroup_is_found() {
    let limited = Cgroup::below_own("cpu").and_then(|(cgroup, is_v2)| {
        if is_v2 {
            cgroup.set("cpu.max", "50000 100000")?;
        } else {
            cgroup.set("cpu.cfs_period_us", "100000")?;
            cgroup.set("cpu.cfs_quota_us", "50000")?;
        }
        Ok(cgroup)
    });
    let cgroup = match limited {
        Ok(cgroup) => cgroup,
        Err(why) => return eprintln!("NOT TESTED: a real CPU quota, because {why}"),
    };
    let found = report(&cgroup.run(&with_report(&[])));
    let quota = check(&found, "cgroup.cpu");
    assert_eq!((&quota["value"], &quota["state"]), (&"0.50 CPUs".into(), &"note".into()));
    assert_eq!(found["goal"]["shards"], 1);
}

#[test]
fn a_task_limit_of_a_cgroup_is_found() {
    let limited = Cgroup::below_own("pids").and_then(|(cgroup, _)| cgroup.set("pids.max", "9").map(|()| cgroup));
    let cgroup = match limited {
        Ok(cgroup) => cgroup,
        Err(why) => return eprintln!("NOT TESTED: a real task limit, because {why}"),
    };
    let found = report(&cgroup.run(&with_report(&[])));
    let tasks = check(&found, "cgroup.tasks");
    assert_eq!((&tasks["value"], &tasks["state"]), (&"9".into(), &"short".into()));
    assert!(found["fix"]["systemd"]["TasksMax"].is_string(), "{found:#}");
}

/// Version 2, whatever this machine has: a mount namespace in which another file system is where
/// version 2 is mounted.
#[test]
fn limits_of_version_2_are_found() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let Some(mount) = mount else { return eprintln!("NOT TESTED: no file system of version 2 is mounted") };
    let words = ["unshare", "--map-root-user", "--mount"];
    let script = format!(
        "mount -t tmpfs tmpfs '{mount}' && echo 1 > '{mount}/cgroup.procs' && echo 134217728 > '{mount}/memory.max' && \
         echo '150000 100000' > '{mount}/cpu.max' && echo 7 > '{mount}/pids.max'"
    );
    if !works(within(&words, &script, &["--version"])) {
        return eprintln!("NOT TESTED: this user may have no mount namespace of its own");
    }
    let found = report(&run(within(&words, &script, &with_report(&["--for=100k"]))));
    for (id, value) in [("cgroup.memory", "128 MiB"), ("cgroup.cpu", "1.50 CPUs"), ("cgroup.tasks", "7")] {
        assert_eq!(check(&found, id)["value"], value, "{found:#}");
    }
}

/// The words that start a program in a network namespace of its own.
const NAMESPACE: [&str; 3] = ["unshare", "--map-root-user", "--net"];

#[test]
fn sysctls_are_those_of_the_network_namespace() {
    let script = "echo 20000 20999 > /proc/sys/net/ipv4/ip_local_port_range && echo 77 > /proc/sys/net/core/somaxconn";
    if !works(within(&NAMESPACE, script, &["--version"])) {
        return eprintln!("NOT TESTED: this user may have no network namespace of its own");
    }
    let found = report(&run(within(&NAMESPACE, script, &with_report(&["--for=1500", "--role=both"]))));
    let range = check(&found, "ports.range");
    assert_eq!((&range["connections"], &range["state"]), (&json!(1000), &"short".into()));
    assert_eq!(range["allows"], "1 000 connections from one address");
    assert_eq!(check(&found, "tcp.somaxconn")["value"], "77");
    assert_eq!(found["fix"]["sysctl"]["net.core.somaxconn"], "1500", "{found:#}");
    assert_eq!(check(&report(&run(ringway(&with_report(&[])))), "ports.range")["state"], "good");
}

/// What sysctl(8) reads of the printed file, without applying it.
#[test]
fn sysctl_reads_the_printed_file() {
    let file = run(ringway(&["doctor", "--for=5m", "--role=both", "--fix", "sysctl"])).stdout;
    let folder = TestDirectory::new("printed-sysctls");
    fs::write(folder.file("90-ringway.conf"), &file).expect("the folder is there");
    let output = Command::new("sysctl").args(["--dry-run", "--load"]).arg(folder.file("90-ringway.conf")).output();
    let Ok(output) = output else { return eprintln!("NOT TESTED: sysctl(8) is not installed") };
    let values = |text: &str| {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?} of {file}");
    assert_eq!(values(&read), values(&file));
    assert!(!values(&file).is_empty(), "{file}");
}

/// systemd accepts the printed drop-in, for the unit of deploy/.
#[test]
fn systemd_accepts_the_printed_drop_in() {
    // Each directive that `--fix` can print.
    let drop_in = run(ringway_after("ulimit -n 200", &["doctor", "--for=5m", "--fix", "systemd"])).stdout;
    assert!(drop_in.contains("\nLimitNOFILE="), "{drop_in}");
    let folder = TestDirectory::new("printed-drop-in");
    let unit = include_str!("../../deploy/systemd/ringway.service");
    let unit = unit.replace("/usr/local/bin/ringway", program().to_str().expect("UTF-8"));
    fs::write(folder.file("ringway.service"), unit).expect("the folder is there");
    fs::create_dir(folder.file("ringway.service.d")).expect("the folder is there");
    let verify = |text: &str| {
        fs::write(folder.file("ringway.service.d/limits.conf"), text).expect("the folder is there");
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no"]).arg(folder.file("ringway.service")).output()
    };
    let Ok(output) = verify(&drop_in) else { return eprintln!("NOT TESTED: systemd-analyze is not installed") };
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?} of {drop_in}");
    let others = "[Service]\nLimitMEMLOCK=585728\nMemoryMax=6042943488\nTasksMax=20\n";
    let output = verify(others).expect("it was there");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    // A wrong line would be noticed.
    let wrong = verify("[Service]\nLimitNOFILE=many\n").expect("it was there");
    assert!(!wrong.stderr.is_empty(), "{wrong:?}");
}

/// The printed file, read by sysctl(8), leaves nothing short.
#[test]
fn the_printed_sysctls_take_effect() {
    // The reports in the namespace, before and after.
    let script = "echo 20000 20999 > /proc/sys/net/ipv4/ip_local_port_range && echo 77 > /proc/sys/net/core/somaxconn && \
                  echo 64 > /proc/sys/net/ipv4/tcp_max_syn_backlog && \"$0\" doctor --for 1500 --role both --fix sysctl | \
                  sysctl -q -p - >&2";
    let (goal, plain) = (["--for=1500", "--role=both"], ["--version"]);
    if !works(within(&NAMESPACE, "true", &plain)) || !works(within(&NAMESPACE, "sysctl -V", &plain)) {
        return eprintln!("NOT TESTED: without a network namespace or sysctl(8)");
    }
    let found = report(&run(within(&NAMESPACE, script, &with_report(&goal))));
    for id in ["ports.range", "tcp.somaxconn", "tcp.syn_backlog"] {
        let check = check(&found, id);
        assert_eq!((&check["state"], &check["commands"]), (&"good".into(), &json!([])), "{check}");
    }
    assert_eq!((&found["summary"]["ready"], &found["fix"]["sysctl"]), (&true.into(), &json!({})), "{found:#}");
    let reported: &Value = check(&found, "ports.range");
    assert!(reported["connections"].as_u64() >= Some(1500), "{reported}");
}
