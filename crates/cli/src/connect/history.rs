//! The lines that were typed: in memory, and in a file of the user's state.

use rustyline::history::DefaultHistory;
use rustyline::{Editor, Helper};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where the history is kept; `None` if there is no such place.
pub(super) struct History(Option<PathBuf>);

impl History {
    /// The number of lines that are kept.
    pub(super) const MAX_LINES: usize = 1000;

    /// The largest line that is kept in bytes.
    const MAX_LINE: usize = 4 << 10;

    /// Loads the file into the editor. Without one, the history is that of this session.
    pub(super) fn open<H: Helper>(editor: &mut Editor<H, DefaultHistory>) -> Self {
        let path = file(|name| std::env::var_os(name).map(PathBuf::from));
        let path = path.filter(|path| path.parent().is_some_and(|folder| create(folder).is_ok()));
        if let Some(path) = &path {
            // Fails if there is no file yet.
            let _ = editor.load_history(path);
        }
        Self(path)
    }

    /// Adds a line. One that begins with a space is not kept.
    pub(super) fn add<H: Helper>(&mut self, editor: &mut Editor<H, DefaultHistory>, line: &str) {
        if line.is_empty() || line.len() > Self::MAX_LINE || !editor.add_history_entry(line).unwrap_or(false) {
            return;
        }
        if let Some(path) = &self.0
            && editor.append_history(path).is_err()
        {
            // A full disk, or a folder that was removed: the lines stay in memory.
            self.0 = None;
        }
    }

    /// The lines with their numbers.
    pub(super) fn text<H: Helper>(editor: &Editor<H, DefaultHistory>) -> String {
        let lines = editor.history().iter().enumerate().map(|(index, line)| format!("{:>5}  {line}", index + 1));
        let text = lines.collect::<Vec<_>>().join("\n");
        if text.is_empty() { "there are no lines yet".into() } else { text }
    }
}

/// The file, by the XDG base directory specification.
fn file(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| {
        let home = variable("HOME").filter(|path| path.is_absolute())?;
        Some(home.join(".local/state"))
    })?;
    Some(state.join("ringway/connect_history"))
}

/// Creates a folder that only this user can read: what people type can be secret.
fn create(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_in_the_state_folder_of_the_user() {
        let with = |variables: &'static [(&str, &str)]| {
            file(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        let expected = |text: &str| Some(PathBuf::from(text));
        assert_eq!(with(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), expected("/s/ringway/connect_history"));
        assert_eq!(with(&[("HOME", "/h")]), expected("/h/.local/state/ringway/connect_history"));
        assert_eq!(
            with(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
            expected("/h/.local/state/ringway/connect_history")
        );
        assert_eq!(with(&[]), None);
    }
}
