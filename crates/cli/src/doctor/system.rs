//! Reads the files of procfs and sysfs, below a root that tests replace.
//!
//! Whatever a file contains, reading it returns a value or a reason. The parsers of the `procfs`
//! crate are not used here, because some of them index and multiply without a check.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// A fact, or the reason why it is unknown.
pub(crate) type Read<T> = Result<T, String>;

/// The maximum number of bytes that are read of a file. `/proc/stat` and `/proc/cpuinfo` of a
/// machine with a thousand cores are shorter.
const MAX_FILE: u64 = 4 << 20;

/// The maximum number of names that are read of a directory.
const MAX_ENTRIES: usize = 4096;

/// The files of a machine.
#[derive(Clone, Debug)]
pub(crate) struct System {
    root: PathBuf,
}

impl System {
    /// Those of this machine.
    pub(crate) fn this() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// Those below `root`, a directory with `proc` and `sys`.
    #[cfg(test)]
    pub(crate) fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The content of the file at an absolute path. Bytes that are not UTF-8 are replaced.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Read<String> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        File::open(self.at(path))
            .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
            .map_err(|error| format!("{}: {}", path.display(), reason(&error)))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The content of a file of one line, without white space around it.
    pub(crate) fn line(&self, path: impl AsRef<Path>) -> Read<String> {
        let path = path.as_ref();
        match self.text(path)?.trim() {
            "" => Err(format!("{} is empty", path.display())),
            text => Ok(text.to_owned()),
        }
    }

    /// The number in a file.
    pub(crate) fn number(&self, path: impl AsRef<Path>) -> Read<u64> {
        let path = path.as_ref();
        let line = self.line(path)?;
        line.parse().map_err(|_| format!("{} is not a number: {}", path.display(), excerpt(&line)))
    }

    /// The first `N` numbers in a file.
    pub(crate) fn numbers<const N: usize>(&self, path: impl AsRef<Path>) -> Read<[u64; N]> {
        let path = path.as_ref();
        let line = self.line(path)?;
        let numbers: Option<Vec<u64>> = line.split_whitespace().take(N).map(|word| word.parse().ok()).collect();
        let numbers = numbers.and_then(|numbers| <[u64; N]>::try_from(numbers).ok());
        numbers.ok_or_else(|| format!("{} has not {N} numbers: {}", path.display(), excerpt(&line)))
    }

    /// The number in the file of a sysctl: `net.core.somaxconn`.
    pub(crate) fn sysctl(&self, key: &str) -> Read<u64> {
        self.number(sysctl_path(key))
    }

    /// The chosen word of a file that marks it by brackets: `always [madvise] never`.
    pub(crate) fn chosen(&self, path: impl AsRef<Path>) -> Read<String> {
        let path = path.as_ref();
        let line = self.line(path)?;
        let chosen = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(chosen, _)| chosen);
        chosen.map(str::to_owned).ok_or_else(|| format!("{} marks no choice: {}", path.display(), excerpt(&line)))
    }

    /// The names in a directory, in order.
    pub(crate) fn names(&self, path: impl AsRef<Path>) -> Read<Vec<String>> {
        let path = path.as_ref();
        let entries = self.at(path).read_dir().map_err(|error| format!("{}: {}", path.display(), reason(&error)))?;
        let names = entries.take(MAX_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// Whether there is a file at this path.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.at(path.as_ref()).exists()
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The file of a sysctl.
pub(crate) fn sysctl_path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key.replace('.', "/"))
}

/// The value of the first line `key: value` or `key value` in a text.
pub(crate) fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// The beginning of a text, without control characters, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    let first: String = text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(40).is_some() { format!("“{first}…”") } else { format!("“{first}”") }
}
