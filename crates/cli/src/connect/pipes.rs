//! A conversation through pipes: a thread reads messages from standard input, and this one writes
//! those that arrive to standard output. Both directions have backpressure: the reader waits until
//! the shard takes a message, and the shard pauses the connection until this thread has room.

use super::conversation::Conversation;
use super::event::{Command, Event, Verdict};
use super::input::{Messages, PipeFormat};
use super::output::Output;
use super::queue::{Commands, Events};
use super::recording::Recorder;
use super::replay::Replay;
use ringway::{CloseCode, PostError, ShardHandle};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::VecDeque;
use std::io::{self, BufReader, ErrorKind, Write};
use std::sync::Arc;

/// What the threads share with the shard.
pub(super) struct Shared {
    pub(super) commands: Arc<Commands>,
    pub(super) events: Arc<Events>,
    pub(super) handle: ShardHandle<Conversation>,
}

/// Runs the conversation until it ends.
pub(super) fn run(
    shared: &Shared,
    mut output: Output<impl Write>,
    source: Source,
    mut recorder: Recorder,
) -> io::Result<Verdict> {
    let Shared { commands, events, handle } = shared;
    let reading = (Arc::clone(commands), handle.clone());
    std::thread::Builder::new().name("ringway-input".into()).spawn(move || source.read(&reading.0, &reading.1))?;
    let watching = handle.clone();
    std::thread::Builder::new().name("ringway-output".into()).spawn(move || watch_output(&watching))?;
    let mut batch = VecDeque::new();
    // Why nothing is written any more: an error of standard output, or `None` for a closed pipe.
    let mut ended: Option<Option<io::Error>> = None;
    let verdict = loop {
        if events.take(&mut batch) {
            // Fails when the shard has ended.
            let _ = handle.post(Conversation::resume);
        }
        let mut verdict = None;
        for event in batch.drain(..) {
            let result = if ended.is_none() { output.event(&event) } else { Ok(()) };
            if let Err(error) = result {
                ended = Some(stop(handle, error));
                output.discard();
            }
            if let Some(note) = recorder.event(&event) {
                output.event(&note)?;
            }
            if let Event::Done(end) = event {
                verdict = Some(end);
            }
        }
        if let Some(note) = recorder.flush() {
            output.event(&note)?;
        }
        if (verdict.is_some() || events.is_empty())
            && ended.is_none()
            && let Err(error) = output.flush()
        {
            ended = Some(stop(handle, error));
        }
        if let Some(verdict) = verdict {
            break verdict;
        }
    };
    Ok(match ended {
        None => {
            output.finish();
            recorder.verdict(verdict)
        }
        // A reader that has what it wants, as `head`.
        Some(None) => recorder.verdict(Verdict::Good),
        Some(Some(error)) => Verdict::Error(format!("cannot write to standard output: {error}")),
    })
}

/// Closes the connection after an error of standard output.
fn stop(handle: &ShardHandle<Conversation>, error: io::Error) -> Option<io::Error> {
    let _ = handle.post(|conversation, shard| conversation.end(shard, CloseCode::NORMAL, Verdict::Good));
    (error.kind() != ErrorKind::BrokenPipe).then_some(error)
}

/// Where the messages to send come from.
pub(super) enum Source {
    /// Standard input to its end, or one message of it.
    Stdin { format: PipeFormat, sends_one: bool },
    /// A recording.
    Replay(Replay),
}

impl Source {
    fn read(self, commands: &Commands, handle: &ShardHandle<Conversation>) {
        let push = |command| match commands.push(command) {
            Ok(false) => true,
            // A full mailbox has enough of these calls in it.
            Ok(true) => matches!(handle.post(Conversation::commands_wait), Ok(()) | Err(PostError::Full)),
            Err(_) => false,
        };
        match self {
            Self::Replay(replay) => replay.run(commands, push),
            Self::Stdin { format, sends_one } => {
                let mut messages = Messages::new(BufReader::with_capacity(64 << 10, io::stdin().lock()), format);
                loop {
                    let command = messages.next();
                    let is_last = sends_one || matches!(command, Command::Finish | Command::Fail(_));
                    if !push(command) || is_last {
                        return;
                    }
                }
            }
        }
    }
}

/// Closes the connection when nobody can read standard output any more, also if nothing is written.
fn watch_output(handle: &ShardHandle<Conversation>) {
    let stdout = io::stdout();
    // No events are asked for: only the errors, which are always reported (poll(2)).
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    loop {
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) if fds[0].revents().intersects(PollFlags::ERR) => break,
            _ => return,
        }
    }
    let _ = handle.post(|conversation, shard| conversation.end(shard, CloseCode::NORMAL, Verdict::Good));
}
