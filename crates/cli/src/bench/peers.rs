//! The echo servers that `--peer` names.
//!
//! A shell runs the command in a process group of its own. The shell waits for the end of its
//! standard input and then kills the whole group. Its standard input ends when the bench drops the
//! peer or is killed.

use super::pinning;
use crate::exit::Failure;
use ringway::placement::Assignment;
use ringway_loadtest::{Stop, processes};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Serialize;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The placeholder of the port in a command.
const PORT: &str = "{port}";

/// Names that the report uses for its own contestants.
const RESERVED: [&str; 5] = ["ringway", "io_uring", "epoll", "floor", "raw"];

/// The maximum length of a name, so that tables stay readable.
const MAX_NAME: usize = 32;

/// Time within which a peer must accept connections.
const START: Duration = Duration::from_secs(20);

/// The interval between attempts to connect.
const TRY: Duration = Duration::from_millis(20);

/// How many bytes of a peer's output are kept.
const KEPT: usize = 4096;

/// How many of its last lines an error shows.
const TOLD: usize = 3;

/// The time to read the rest of a peer's output once it is killed.
const REST: Duration = Duration::from_secs(1);

/// The script of the shell. It prints a line once the peer is a process: from then on, a group that
/// holds only the shell means that the peer has exited. Everything else on its output is the
/// peer's, except the last line, which has the exit code.
const GUARD: &str = r#"{ (eval "$1"); echo "(exited with code $?)"; } </dev/null >&2 & echo; read -r _; kill -KILL 0"#;

/// A peer to run: a name and the command that serves echo on `{port}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PeerSpec {
    pub(crate) name: String,
    pub(crate) command: String,
}

/// Parses the value of `--peer`.
pub(crate) fn peer(text: &str) -> Result<PeerSpec, String> {
    let (name, command) = text.split_once('=').ok_or("give NAME=COMMAND, as 'other=./other --port {port}'")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+/:".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
        return Err(format!("the name {name:?}: give 1 to {MAX_NAME} letters, digits and ._-+/: in front of the '='"));
    }
    if RESERVED.contains(&&*name.to_ascii_lowercase()) {
        return Err(format!("the report uses the name {name:?} by itself: give another one"));
    }
    if !command.contains(PORT) {
        return Err(format!(
            "the command has no {PORT}: put it where the server takes its port, which the system chooses"
        ));
    }
    Ok(PeerSpec { name: name.into(), command: command.trim().into() })
}

/// The first name that two peers have.
pub(crate) fn duplicate(peers: &[PeerSpec]) -> Option<&str> {
    let has_twin = |(at, peer): &(usize, &PeerSpec)| peers[..*at].iter().any(|other| other.name == peer.name);
    peers.iter().enumerate().find(has_twin).map(|(_, peer)| &*peer.name)
}

/// A running peer. Dropping it kills it and all processes that it has started.
pub(crate) struct PeerProcess {
    guard: Child,
    pub(crate) address: SocketAddr,
    words: Words,
}

impl PeerProcess {
    /// Starts a peer on `cores`, on a port that the system chooses, and waits until it accepts
    /// connections. The error is one line, with the last output of the peer. Returns `None` if
    /// `stop` is set before that.
    pub(crate) fn start(spec: &PeerSpec, cores: &Assignment, stop: &Stop) -> Result<Option<Self>, Failure> {
        // Dropping the listener frees the port at once, because no client has connected to it.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", GUARD, "sh", &spec.command.replace(PORT, &port.to_string())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut guard = pinning::spawn(&mut shell, cores)?;
        let words = Words::keep(guard.stderr.take());
        if let Some(stdout) = guard.stdout.take() {
            BufReader::new(stdout).read_line(&mut String::new())?;
        }
        let peer = Self { guard, address: (Ipv4Addr::LOCALHOST, port).into(), words };
        let deadline = Instant::now() + START;
        loop {
            if TcpStream::connect(peer.address).is_ok() {
                return Ok(Some(peer));
            }
            let why = if peer.has_ended() {
                "it exited".into()
            } else if Instant::now() >= deadline {
                format!("nothing accepts connections on 127.0.0.1:{port} after {} s", START.as_secs())
            } else if stop.is_set() {
                return Ok(None);
            } else {
                std::thread::sleep(TRY);
                continue;
            };
            let words = peer.last_words();
            return Err(Failure(format!("peer {:?} did not start: {why}; {words}", spec.name)));
        }
    }

    /// The process from which all others of the peer descend.
    pub(crate) fn pid(&self) -> u32 {
        self.guard.id()
    }

    /// Whether the shell is the only process left of it.
    pub(crate) fn has_ended(&self) -> bool {
        processes::tree(self.pid()).len() < 2
    }

    /// Ends the peer and returns its last lines as one.
    pub(crate) fn last_words(mut self) -> String {
        self.kill();
        self.words.last()
    }

    /// Kills the group, and descendants that have left the group.
    fn kill(&mut self) {
        let tree = processes::tree(self.pid());
        let pid = |id: u32| i32::try_from(id).ok().and_then(Pid::from_raw);
        if let Some(group) = pid(self.pid()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        for process in tree.into_iter().filter_map(pid) {
            let _ = kill_process(process, Signal::KILL);
        }
        let _ = self.guard.wait();
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        if matches!(self.guard.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

/// The end of a peer's output on both streams. A thread reads it, so that the peer never blocks on
/// a full pipe.
struct Words {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Disconnects when the output has ended.
    over: Receiver<()>,
}

impl Words {
    fn keep(from: Option<ChildStderr>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (reading, over) = mpsc::channel::<()>();
        if let Some(mut from) = from {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || {
                let (_reading, mut bytes) = (reading, [0; KEPT]);
                while let Ok(read @ 1..) = from.read(&mut bytes) {
                    let Ok(mut kept) = kept.lock() else { return };
                    kept.extend_from_slice(&bytes[..read]);
                    let surplus = kept.len().saturating_sub(KEPT);
                    kept.drain(..surplus);
                }
            });
        }
        Self { kept, over }
    }

    /// The last lines joined into one, once the pipe has no writers.
    fn last(&self) -> String {
        // A process that has left tree and group may hold the pipe open: then the output so far is
        // used.
        let _ = self.over.recv_timeout(REST);
        let kept = self.kept.lock().map(|kept| kept.clone()).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&kept))
    }
}

/// The last lines that are not empty, joined into one.
fn last_lines(text: &str) -> String {
    let clean = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
    let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
    match &lines[lines.len().saturating_sub(TOLD)..] {
        [] => "no output".into(),
        last => format!("last output: {}", last.join(" / ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_name_and_a_command_with_a_port() {
        let spec = peer("other-1.0=PORT={port} ./other --listen=:{port}").expect("well-formed");
        assert_eq!((&*spec.name, &*spec.command), ("other-1.0", "PORT={port} ./other --listen=:{port}"));
    }

    #[test]
    fn an_invalid_peer_is_refused_with_the_reason() {
        for (text, reason) in [
            ("./other {port}", "give NAME=COMMAND"),
            ("=./other {port}", "the name \"\""),
            ("a b=./other {port}", "the name \"a b\""),
            ("a|b=./other {port}", "the name \"a|b\""),
            ("other=./other", "the command has no {port}"),
            ("other=", "the command has no {port}"),
            ("ringway=./other {port}", "the report uses the name"),
            ("Epoll=./other {port}", "the report uses the name"),
        ] {
            let error = peer(text).expect_err(text);
            assert!(error.starts_with(reason), "{text}: {error}");
        }
        assert!(peer(&format!("{}=x {{port}}", "n".repeat(MAX_NAME + 1))).is_err());
    }

    #[test]
    fn a_name_is_given_once() {
        let peers = ["a=x {port}", "b=x {port}", "a=y {port}"].map(|text| peer(text).expect(text));
        assert_eq!((duplicate(&peers), duplicate(&peers[..2])), (Some("a"), None));
    }

    #[test]
    fn last_words_are_the_last_lines_in_one() {
        assert_eq!(last_lines("\n \n"), "no output");
        assert_eq!(last_lines("a\n\nb\r\n\x1b[31mc\nd\n"), "last output: b / [31mc / d");
    }

    fn start(command: &str) -> Result<Option<PeerProcess>, Failure> {
        let cores = Assignment::unpinned(1.try_into().expect("1 is not 0"));
        PeerProcess::start(&PeerSpec { name: "it".into(), command: command.into() }, &cores, &Stop::default())
    }

    #[test]
    fn a_peer_that_does_not_start_is_reported_with_its_last_output() {
        let Err(Failure(line)) = start("echo 'no such port: {port}' >&2; echo on stdout; exit 3") else {
            panic!("it does not listen")
        };
        assert!(line.starts_with("peer \"it\" did not start: it exited; last output: no such port: "), "{line}");
        assert!(line.ends_with(" / on stdout / (exited with code 3)"), "{line}");
        let Err(Failure(line)) = start("/nowhere/to/be/found {port}") else { panic!("the command does not exist") };
        assert!(line.contains("/nowhere/to/be/found") && line.contains("not found"), "{line}");
    }

    #[test]
    fn a_stop_ends_the_waiting() {
        let stop = Stop::default();
        stop.now();
        let spec = PeerSpec { name: "it".into(), command: "exec sleep 1000".into() };
        assert!(
            PeerProcess::start(&spec, &Assignment::unpinned(1.try_into().expect("1 is not 0")), &stop)
                .is_ok_and(|peer| peer.is_none())
        );
    }
}
