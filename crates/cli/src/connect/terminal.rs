//! The state of the terminal, which is restored however the program ends.

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Write};

/// Bracketed paste (xterm, control sequences), which the line editor turns on.
const PASTE_ON: &str = "\x1b[?2004h";
const PASTE_OFF: &str = "\x1b[?2004l\r\n";

/// The modes of the terminal before the prompt.
#[derive(Clone)]
pub(super) struct TerminalModes(Option<Termios>);

impl TerminalModes {
    /// Those of the terminal on standard input, if it is one.
    pub(super) fn save() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }

    /// Passes on each key as it is typed, until the result is dropped, also while the line editor
    /// handles a line: it would otherwise switch to whole lines and back for each of them, and the
    /// kernel drops what is pasted meanwhile and does not fit its queue of lines (termios(3),
    /// canonical mode).
    pub(super) fn without_lines(&self) -> KeyModes<'_> {
        if let Some(modes) = &self.0 {
            let mut modes = modes.clone();
            modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            modes.input_modes -= InputModes::ICRNL;
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
        }
        KeyModes(self)
    }

    /// Sets the former modes. A terminal that has gone is left alone.
    fn reset(&self) {
        if let Some(modes) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, modes);
        }
    }

    /// Sets the former modes while `run` runs, and those of now behind it.
    pub(super) fn lend(&self, run: impl FnOnce()) {
        let now = tcgetattr(io::stdin()).ok();
        let has_keys = now.as_ref().is_some_and(|now| !now.local_modes.contains(LocalModes::ICANON));
        if has_keys {
            self.restore();
        } else {
            self.reset();
        }
        run();
        if let Some(now) = now {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &now);
        }
        if has_keys {
            write(PASTE_ON);
        }
    }

    /// Restores the terminal while the line editor waits for a key.
    pub(super) fn restore(&self) {
        if self.0.is_none() {
            return;
        }
        self.reset();
        if io::stdout().is_terminal() {
            let _ = rustix::io::write(io::stdout(), PASTE_OFF.as_bytes());
        }
    }
}

/// The modes of [`TerminalModes::without_lines`].
pub(super) struct KeyModes<'a>(&'a TerminalModes);

impl Drop for KeyModes<'_> {
    fn drop(&mut self) {
        self.0.reset();
    }
}

/// Whether the terminal on standard output shows colours.
pub(super) fn is_coloured() -> bool {
    let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !has("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Makes a prompt that waits for a key return: its line editor ends at SIGINT.
pub(super) fn interrupt_prompt() {
    let _ = kill_process(getpid(), Signal::INT);
}

/// Writes to the terminal. One that has gone takes nothing.
pub(super) fn write(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
