//! The prompt: a thread reads lines, and this one prints what happens above the line that is being
//! typed.
//!
//! The line editor prints for other threads only while it waits for a key, so printing can wait for
//! it. The thread of the editor therefore never waits: a line that finds no room is refused with a
//! note. The shard waits for neither of them.

use super::commands::{COMMANDS, Typed, help, parse};
use super::conversation::Conversation;
use super::event::{Command, Event, Verdict};
use super::history::History;
use super::printer::{EditorStage, Printer};
use super::queue::{Commands, Events, Refused};
use super::recording::Recorder;
use super::show::Show;
use super::signals::Interrupts;
use super::suspend;
use super::terminal::{self, TerminalModes};
use ringway::{CloseCode, ShardHandle};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::config::{BellStyle, ColorMode};
use rustyline::error::{ReadlineError, Signal};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use signal_hook::consts::SIGINT;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

const PROMPT: &str = "> ";

/// What is said when the first connection is open.
const HINT: &str = "a line that is typed is sent; /help lists the commands, Ctrl-D closes";

/// How long the end waits for the thread of the editor, and how often that is woken.
const EDITOR_END: Duration = Duration::from_secs(1);
const EDITOR_WAKE: Duration = Duration::from_millis(10);

/// What the prompt shares with the shard.
pub(super) struct Shared {
    pub(super) commands: Arc<Commands>,
    pub(super) events: Arc<Events>,
    pub(super) handle: ShardHandle<Conversation>,
    pub(super) interrupts: Interrupts,
}

/// Runs the prompt until the conversation ends.
pub(super) fn run(
    shared: Shared,
    show: &mut Show,
    mut recorder: Recorder,
    modes: &TerminalModes,
) -> rustyline::Result<Verdict> {
    let config = Config::builder()
        .max_history_size(History::MAX_LINES)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .bell_style(BellStyle::None)
        // Ctrl-C, Ctrl-Z and Ctrl-\ send signals, as they do without an editor.
        .enable_signals(true)
        .color_mode(if show.is_coloured { ColorMode::Enabled } else { ColorMode::Disabled })
        .build();
    let mut editor: Editor<Assistant, DefaultHistory> = Editor::with_config(config)?;
    let stage = Arc::new(EditorStage::default());
    let events = Arc::clone(&shared.events);
    let assistant =
        Assistant { files: FilenameCompleter::new(), stage: Arc::clone(&stage), events: Arc::clone(&events) };
    editor.set_helper(Some(assistant));
    // A terminal without cursor movements has none; lines are printed as they come then.
    let external = editor.create_external_printer().ok();
    let _keys = external.is_some().then(|| modes.without_lines());
    let mut printer = Printer::new(external, &stage);
    let history = History::open(&mut editor);
    let resumed = Arc::clone(&events);
    suspend::watch(modes.clone(), move || {
        resumed.push(Event::Resumed);
    })?;
    let (handle, interrupts) = (shared.handle.clone(), shared.interrupts.clone());
    let is_pretty = Arc::new(AtomicBool::new(show.is_pretty));
    let (ended, editor_ended) = mpsc::channel();
    let reader = Reader { shared, is_pretty: Arc::clone(&is_pretty), history, stage: Arc::clone(&stage) };
    std::thread::Builder::new().name("ringway-prompt".into()).spawn(move || {
        let (stage, events) = (Arc::clone(&reader.stage), Arc::clone(&reader.shared.events));
        reader.run(editor);
        stage.ends();
        events.wake();
        let _ = ended.send(());
    })?;
    let (mut batch, mut text) = (VecDeque::new(), String::new());
    let mut hint = Some(Event::Note(HINT.into()));
    let verdict = loop {
        if events.take(&mut batch) {
            // Fails when the shard has ended.
            let _ = handle.post(Conversation::resume);
        }
        show.is_pretty = is_pretty.load(Ordering::Relaxed);
        let mut verdict = None;
        for event in batch.drain(..) {
            show.event(&event, &mut text);
            if matches!(event, Event::Opened(_))
                && let Some(hint) = hint.take()
            {
                show.event(&hint, &mut text);
            }
            if let Some(note) = recorder.event(&event) {
                show.event(&note, &mut text);
            }
            match event {
                Event::Resumed => printer.redraw(&mut text),
                Event::Done(end) => verdict = Some(end),
                _ => {}
            }
        }
        if let Some(note) = recorder.flush() {
            show.event(&note, &mut text);
        }
        if let Some(verdict) = verdict {
            break recorder.verdict(verdict);
        }
        printer.print(&mut text);
        while printer.is_full() {
            std::thread::sleep(EDITOR_WAKE);
            printer.print(&mut text);
        }
    };
    printer.print(&mut text);
    let begun = Instant::now();
    while !printer.flush() && begun.elapsed() < EDITOR_END {
        std::thread::sleep(EDITOR_WAKE);
    }
    printer.finish();
    interrupts.conversation_ended();
    let begun = Instant::now();
    while begun.elapsed() < EDITOR_END {
        terminal::interrupt_prompt();
        match editor_ended.recv_timeout(EDITOR_WAKE) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(verdict),
        }
    }
    // The editor of a terminal without cursor movements waits for a whole line.
    modes.restore();
    Ok(verdict)
}

/// The thread of the line editor.
struct Reader {
    shared: Shared,
    is_pretty: Arc<AtomicBool>,
    history: History,
    stage: Arc<EditorStage>,
}

impl Reader {
    fn run(mut self, mut editor: Editor<Assistant, DefaultHistory>) {
        // What is typed before the first connection is open waits in the terminal.
        if !self.shared.commands.wait_for_opening() {
            return;
        }
        loop {
            self.stage.enters();
            let line = editor.readline(PROMPT);
            self.stage.left();
            if self.shared.interrupts.has_ended() {
                return;
            }
            match line {
                Ok(line) => {
                    self.history.add(&mut editor, &line);
                    if !self.handle_line(&line, &editor) {
                        return;
                    }
                }
                Err(ReadlineError::Eof) => return self.end(CloseCode::NORMAL, Verdict::Good),
                Err(ReadlineError::Interrupted | ReadlineError::Signal(Signal::Interrupt)) => {
                    return self.shared.interrupts.raise(SIGINT);
                }
                Err(ReadlineError::Signal(Signal::Resize)) => {}
                Err(_) => return self.end(CloseCode::GOING_AWAY, Verdict::Error("the terminal is gone".into())),
            }
        }
    }

    /// Handles a line. Returns `false` for the last one.
    fn handle_line(&self, line: &str, editor: &Editor<Assistant, DefaultHistory>) -> bool {
        match parse(line) {
            Ok(Typed::Command(command)) => self.submit(command),
            Ok(Typed::Json(on)) => {
                self.is_pretty.store(on, Ordering::Relaxed);
                self.note(format!("JSON is {}", if on { "indented" } else { "shown as it is" }));
            }
            Ok(Typed::History) => self.note(History::text(editor)),
            Ok(Typed::Help) => self.note(help()),
            Ok(Typed::Quit) => {
                self.end(CloseCode::NORMAL, Verdict::Good);
                return false;
            }
            Ok(Typed::Nothing) => {}
            Err(error) => self.note(error),
        }
        true
    }

    fn submit(&self, command: Command) {
        match self.shared.commands.try_push(command) {
            Ok(false) => {}
            Ok(true) => drop(self.shared.handle.post(Conversation::commands_wait)),
            Err(Refused::NotConnected) => self.note("not sent: no connection is open".into()),
            Err(Refused::Full) => self.note("not sent: the server does not take what was sent before".into()),
            Err(Refused::Ended) => self.note("not sent: the conversation has ended".into()),
        }
    }

    fn note(&self, note: String) {
        self.shared.events.push_note(note);
    }

    fn end(&self, code: CloseCode, verdict: Verdict) {
        let _ = self.shared.handle.post(move |conversation, shard| conversation.end(shard, code, verdict));
    }
}

/// Completes commands, and files behind `@`; and knows when the editor begins and ends a line, because
/// it is asked for hints then, and whether the line is valid.
struct Assistant {
    files: FilenameCompleter,
    stage: Arc<EditorStage>,
    events: Arc<Events>,
}

impl Helper for Assistant {}

impl Highlighter for Assistant {}

impl Hinter for Assistant {
    type Hint = String;

    fn hint(&self, _: &str, _: usize, _: &Context<'_>) -> Option<String> {
        if self.stage.reads() {
            // What has waited for the editor can be printed.
            self.events.wake();
        }
        None
    }
}

impl Validator for Assistant {
    fn validate(&self, _: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        self.stage.leaves();
        Ok(ValidationResult::Valid(None))
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, context: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        if let Some(file) = typed.find(" @").map(|space| space + 2).filter(|_| typed.starts_with('/')) {
            let (start, files) = self.files.complete(&line[file..], at - file, context)?;
            return Ok((file + start, files));
        }
        if !typed.starts_with('/') || typed.contains(char::is_whitespace) {
            return Ok((at, Vec::new()));
        }
        let fitting = COMMANDS.iter().filter(|(name, ..)| name.starts_with(typed));
        let pair = |(name, argument, _): &(&str, &str, &str)| Pair {
            display: format!("{name} {argument}"),
            replacement: format!("{name} "),
        };
        Ok((0, fitting.map(pair).collect()))
    }
}
