//! Network namespaces, for tests that change or need links of their own.

use crate::guarded;
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A network namespace, which exists as long as the process in it.
pub struct Namespace(Child);

impl Namespace {
    /// A new one.
    ///
    /// # Errors
    /// The reason why this user can have none.
    pub fn new() -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && echo ready && read -r _"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        guarded(Pid::from_child(&child), || stdout.read_line(&mut line)).expect("text");
        if line == "ready\n" {
            return Ok(Self(child));
        }
        let output = child.wait_with_output().expect("its output can be read");
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// The process in it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Runs a command of ip(8) in it.
    ///
    /// # Errors
    /// What the command says.
    pub fn ip(&self, arguments: &str) -> Result<(), String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg("ip").args(arguments.split_whitespace());
        let output = command.output().map_err(|error| format!("nsenter: {error}"))?;
        let text = || format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
        if output.status.success() { Ok(()) } else { Err(text()) }
    }

    /// Runs `work` on a thread of it. The sockets, threads and processes that it makes stay in the
    /// namespace.
    ///
    /// # Panics
    /// If this process may not enter it, and when `work` does.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let file = File::open(format!("/proc/{}/ns/net", self.0.id())).expect("the process runs");
        let inside = move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("the right to enter it");
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).expect("no panic in the namespace")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
