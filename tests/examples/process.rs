//! An example as a process of its own.

use ringway_tests::{WATCHDOG, example};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

/// An example that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Process {
    /// Starts the example of this name.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(example(name));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let stdin = child.stdin.take();
        let stdout = lines(child.stdout.take().expect("it is a pipe"));
        let stderr = lines(child.stderr.take().expect("it is a pipe"));
        Self { child, stdin, stdout, stderr }
    }

    /// Waits until a server listens, and returns where.
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.line();
        let address = line.strip_prefix("listening on ws://").and_then(|rest| rest.strip_suffix('/')?.parse().ok());
        address.unwrap_or_else(|| panic!("not an address: {line:?}"))
    }

    /// Waits for the next line of its standard output.
    pub(crate) fn line(&self) -> String {
        let line = self.stdout.recv_timeout(WATCHDOG);
        line.unwrap_or_else(|error| panic!("{error}; stderr: {:?}", self.stderr.try_iter().collect::<Vec<_>>()))
    }

    /// Waits for the next line of its standard error.
    pub(crate) fn notice(&self) -> String {
        self.stderr.recv_timeout(WATCHDOG).expect("it says something")
    }

    /// Writes a line to its standard input.
    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its input has not ended");
        writeln!(stdin, "{line}").expect("it reads its input");
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Tells it to stop, as a service manager does.
    pub(crate) fn signal_to_stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
    }

    /// Waits for its end, and returns that with the lines that it has written to standard error.
    pub(crate) fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let mut notices = Vec::new();
        loop {
            match self.stderr.recv_timeout(WATCHDOG) {
                Ok(notice) => notices.push(notice),
                // The pipe ends with the process.
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it did not end within {WATCHDOG:?}: {notices:?}"),
            }
        }
        (self.child.wait().expect("it is our child"), notices)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without effect on one that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines on a thread of their own, so that a test can wait for one with a watchdog.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (line, lines) = mpsc::channel();
    thread::spawn(move || {
        for text in BufReader::new(pipe).lines() {
            // The test may be over.
            let _ = line.send(text.expect("UTF-8"));
        }
    });
    lines
}
