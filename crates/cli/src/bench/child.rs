//! Our own servers that the bench measures. Each is a process of this program, so that its CPU time
//! and memory are measured separately.

use super::{Bench, pinning};
use crate::exit::Failure;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A server process of this program. It is killed when this value is dropped, and stops when this
/// process is killed, because its standard input closes then.
pub(crate) struct BenchServer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl BenchServer {
    /// Starts `ringway` with `arguments` and those that every server of the bench has, and waits
    /// until it prints its address.
    pub(crate) fn start(arguments: &[&str], bench: &Bench) -> Result<Self, Failure> {
        let place = &bench.halves.server;
        let threads = if arguments.contains(&"serve") { "--shards" } else { "--threads" };
        let on = match place.list() {
            Some(cores) => ["--cores".to_owned(), cores.to_string()],
            None => [threads.to_owned(), place.threads().to_string()],
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        if !arguments.contains(&"--driver") && !arguments.contains(&"--epoll") {
            command.args(["--driver", bench.drivers[0].flag()]);
        }
        command
            .args(["--listen", "127.0.0.1:0", "--stop-with-stdin", "--busy-poll", &bench.effort.busy_poll])
            .args(on)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal sends SIGINT to the whole process group. The servers must not stop before
            // the bench does.
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
                Err(Failure(format!(
                    "the server to measure did not start: run `ringway {}` to see why",
                    arguments.join(" ")
                )))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        // The server has nothing to lose, so it is killed instead of stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
