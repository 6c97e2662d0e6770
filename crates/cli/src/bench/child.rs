//! Our own servers that the bench measures: processes of this very program, so that their CPU time and memory are theirs
//! alone.

use super::{Bench, pinning};
use crate::exit::Failure;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A server process of this very program. It ends with this value, and also when this process is killed: its standard
/// input closes then.
pub(crate) struct BenchServer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl BenchServer {
    /// Starts `ringway` with `arguments`, to which what every server of the bench needs is added, and waits until it
    /// says where it listens.
    pub(crate) fn start(arguments: &[&str], bench: &Bench) -> Result<Self, Failure> {
        let place = &bench.halves.server;
        let threads = if arguments.contains(&"serve") { "--shards" } else { "--threads" };
        let on = match place.list() {
            Some(cores) => ["--cores".to_owned(), cores.to_string()],
            None => [threads.to_owned(), place.threads().to_string()],
        };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--stop-with-stdin", "--busy-poll", &bench.effort.busy_poll])
            .args(on)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C goes to the whole group of a terminal. They end when the bench does, and not before.
            .process_group(0);
        let mut child = pinning::spawn(&mut command, place)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().rsplit(['/', ' ']).next().and_then(|address| address.parse().ok());
        match address {
            Some(address) => Ok(Self { child, address }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Failure(format!("the server to measure did not start: `ringway {}` says why", arguments.join(" "))))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        // Killed rather than asked to stop: there is nothing that it would lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
