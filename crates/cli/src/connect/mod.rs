//! `ringway connect`: a conversation with a WebSocket server, at a prompt or through pipes.

pub(crate) mod arguments;
mod backoff;
mod client;
mod commands;
mod conversation;
mod escape;
mod event;
mod hex;
mod history;
mod input;
mod opening;
mod outcome;
mod output;
mod pings;
mod pipes;
mod pretty;
mod printer;
mod prompt;
mod queue;
mod recording;
pub(crate) mod replay;
mod resolver;
mod sent;
mod show;
mod signals;
mod suspend;
mod terminal;
mod tracing;

use crate::exit::{ExitOutcome, Failure, usage};
use arguments::Connect;
use conversation::Habits;
use event::Verdict;
use input::PipeFormat;
use output::Output;
use pipes::Source;
use queue::{Commands, Events};
use recording::Recorder;
use replay::Replay;
use ringway::CloseCode;
use show::Show;
use signal_hook::consts::SIGINT;
use signals::Interrupts;
use std::io::{IsTerminal, stdin, stdout};
use std::sync::Arc;
use terminal::TerminalModes;
use tracing::Tracing;

pub(crate) fn run(arguments: &Connect) -> Result<ExitOutcome, Failure> {
    let is_for_scripts = arguments.one || arguments.number.is_some() || arguments.binary || arguments.jsonl;
    let has_prompt = !is_for_scripts && arguments.replay.is_none() && stdin().is_terminal() && stdout().is_terminal();
    let format = match (arguments.binary, arguments.jsonl) {
        (true, _) => PipeFormat::Prefixed,
        (_, true) => PipeFormat::Jsonl,
        _ => PipeFormat::Lines,
    };
    if format == PipeFormat::Prefixed && stdout().is_terminal() {
        return usage("--binary writes bytes, which a terminal cannot show: redirect standard output, or use --jsonl");
    }
    let modes = TerminalModes::save();
    let habits = Habits {
        url: arguments.url.clone(),
        number: if arguments.one { Some(1) } else { arguments.number },
        counts_binary: format != PipeFormat::Lines || has_prompt,
        linger: arguments.linger,
        ping_interval: Some(arguments.ping_interval).filter(|interval| !interval.is_zero()),
        reconnect: arguments.reconnect,
        looks_up: arguments.reconnect.is_some() && arguments.resolve.is_empty(),
        records: arguments.record.is_some(),
    };
    let source = match &arguments.replay {
        Some(path) => Source::Replay(Replay::open(path, arguments.speed)?),
        None => Source::Stdin { format, sends_one: arguments.one },
    };
    let recorder = Recorder::open(arguments.record.as_deref())?;
    let (commands, events) = (Arc::new(Commands::default()), Arc::new(Events::default()));
    let endpoint = match client::endpoint(arguments) {
        Ok(endpoint) => endpoint,
        Err(failure) => return failure.report(),
    };
    let tracing = tracing::start(arguments, has_prompt, &events)?;
    let tap = tracing.as_ref().map(Tracing::tap);
    let started = client::start(arguments, habits, endpoint, &commands, &events, tap);
    let running = match started {
        Ok(running) => running,
        Err(failure) => return failure.report(),
    };
    let handle = running.handles()[0].clone();
    let closing = handle.clone();
    let interrupts = Interrupts::watch(modes.clone(), move |signal| {
        let code = if signal == SIGINT { CloseCode::NORMAL } else { CloseCode::GOING_AWAY };
        let _ = closing.post(move |conversation, shard| conversation.end(shard, code, Verdict::Good));
    })?;
    let mut show = Show::new(has_prompt && terminal::is_coloured(), arguments.pretty, arguments.verbose);
    let verdict = if has_prompt {
        let shared = prompt::Shared { commands, events, handle, interrupts: interrupts.clone() };
        let traced = Arc::clone(&shared.events);
        let verdict = prompt::run(shared, &mut show, recorder, &modes)?;
        tracing::end_prompt(&traced, &show);
        verdict
    } else {
        let out = stdout();
        let output = Output::new(out.lock(), format, out.is_terminal(), show);
        pipes::run(&pipes::Shared { commands, events, handle }, output, source, recorder)?
    };
    running.wait()?;
    let is_traced = tracing.is_none_or(Tracing::finish);
    if let Some(signal) = interrupts.caught() {
        return Ok(ExitOutcome::Interrupted(signal));
    }
    match verdict {
        Verdict::Good if is_traced => Ok(ExitOutcome::Good),
        Verdict::Good | Verdict::Failed => Ok(ExitOutcome::Failed),
        Verdict::Error(error) => Err(Failure(escape::escaped(&error))),
    }
}
