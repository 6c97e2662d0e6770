//! The program `ringway`, and the examples of the library, run as processes.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// The path of the program, built in the profile of the calling test. Cargo passes no path to the
/// tests of another package, and does not rebuild the program for them.
///
/// # Panics
/// If it cannot be built.
pub fn program() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| build(&["--package", "ringway-cli", "--bin", "ringway"]).join("ringway"))
}

/// An example of the library, built in the same way.
///
/// # Panics
/// When the examples cannot be built.
pub fn example(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| build(&["--package", "ringway", "--examples"]).join("examples")).join(name)
}

/// Builds what is named, and returns the folder of the profile.
fn build(what: &[&str]) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    // <target>/<profile>/deps/<test>-<hash>
    let folder = test.ancestors().nth(2).expect("cargo puts tests there");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--profile", profile])
        .args(what)
        .arg("--target-dir")
        .arg(folder.parent().expect("the target folder"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "{what:?} cannot be built");
    folder.to_owned()
}

/// The program with these arguments.
pub fn ringway(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments);
    command
}

/// The program started by a shell after `before`, which changes limits.
pub fn ringway_after(before: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{before} && exec \"$0\" \"$@\"")).arg(program()).args(arguments);
    command
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Ended {
    /// The only line of stderr. Checks the exit code.
    pub fn line(&self, code: i32) -> &str {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "errors go to stderr");
        let mut lines = self.stderr.lines();
        let line = lines.next().unwrap_or_else(|| panic!("stderr is empty: {self:?}"));
        assert_eq!(lines.next(), None, "stderr has one line: {self:?}");
        line
    }
}

/// The time in which a program must end. Those that measure take half a minute on a busy machine.
pub const PROGRAM_WATCHDOG: Duration = Duration::from_secs(120);

/// Runs the command to its end; kills it after [`PROGRAM_WATCHDOG`].
pub fn run(command: Command) -> Ended {
    finish(start(command))
}

/// Starts the command.
pub fn start(mut command: Command) -> Child {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    child.expect("the program starts")
}

/// Waits for the end of a process; kills it after [`PROGRAM_WATCHDOG`].
pub fn finish(child: Child) -> Ended {
    let pid = id(&child);
    let output = guarded(pid, move || child.wait_with_output()).expect("its output can be read");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn id(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Runs `wait`, which returns when process `pid` ends; kills the process after [`PROGRAM_WATCHDOG`].
pub fn guarded<R>(pid: Pid, wait: impl FnOnce() -> R) -> R {
    let (done, is_done) = mpsc::channel::<()>();
    let guard = thread::spawn(move || {
        let late = is_done.recv_timeout(PROGRAM_WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let _ = kill_process(pid, Signal::KILL);
        }
        late
    });
    let result = wait();
    drop(done);
    assert!(!guard.join().expect("no assertion in it"), "the program did not end within {PROGRAM_WATCHDOG:?}");
    result
}

/// A running `ringway serve`. Dropping it kills it.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// The lines that it printed before it was ready.
    pub announced: Vec<String>,
}

impl ServerProcess {
    /// Starts the server, and waits until it has printed all its lines. The command must end with
    /// `serve …`.
    pub fn start(command: Command) -> Self {
        Self::start_with_stdin(command, Stdio::null())
    }

    /// As [`ServerProcess::start`], with a standard input.
    pub fn start_with_stdin(mut command: Command, stdin: Stdio) -> Self {
        let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let mut announced: Vec<String> = Vec::new();
        // The last line is that of the connections. It is missing only if the number of files is
        // unlimited, which it is not where tests run.
        while !announced.last().is_some_and(|line| line.starts_with("connections")) {
            match lines.next() {
                Some(line) => announced.push(line.expect("UTF-8")),
                None => {
                    let (mut stderr, mut text) = (stderr, String::new());
                    let _ = stderr.read_to_string(&mut text);
                    panic!("it ended with {:?} after printing {announced:?} and {text:?}", child.wait());
                }
            }
        }
        Self { child, stderr, announced }
    }

    /// `ringway serve` on a port that the system chooses.
    pub fn with(arguments: &[&str]) -> Self {
        Self::start(ringway(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()))
    }

    /// The addresses that it has printed.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |line: &String| line.strip_prefix("listening on ws://")?.parse().ok();
        self.announced.iter().filter_map(address).collect()
    }

    /// The addresses with TLS that it has printed.
    pub fn secure_addresses(&self) -> Vec<SocketAddr> {
        let address = |line: &String| line.strip_prefix("listening on wss://")?.parse().ok();
        self.announced.iter().filter_map(address).collect()
    }

    /// The first address that it has printed.
    pub fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// The address of its listener for operators.
    pub fn admin(&self) -> SocketAddr {
        let line = self.announced.iter().find_map(|line| line.strip_prefix("admin        http://"));
        let address = line.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("{:?}", self.announced));
        address.parse().expect("an address")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(id(&self.child), signal).expect("it runs");
    }

    /// Waits for the next line of stderr.
    pub fn warning(&mut self) -> String {
        let mut line = String::new();
        let pid = id(&self.child);
        guarded(pid, || self.stderr.read_line(&mut line)).expect("UTF-8");
        assert_ne!(line, "", "stderr has ended");
        line
    }

    /// Waits for its end, and returns its exit status and the rest of its stderr.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let mut stderr = String::new();
        let pid = id(&self.child);
        guarded(pid, || {
            self.stderr.read_to_string(&mut stderr).expect("UTF-8");
            let status = self.child.wait().expect("it is our child");
            (status, std::mem::take(&mut stderr))
        })
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // This has no effect on a process that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
