//! Content from files, and arguments that name one.

use super::ContentError;
use crate::{MAX_SIZE, size};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let unreadable = |error| FileError::Unreadable { path: path.to_owned(), error };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let too_large = FileError::TooLarge { path: path.to_owned(), limit };
    if metadata.len() > limit as u64 {
        return Err(too_large);
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // A pipe has no length, and a file can grow.
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limit { Err(too_large) } else { Ok(bytes) }
}

/// The content that an argument stands for: that of the file after `@`, or else the argument
/// itself. `@@` at the front stands for one `@` of a text.
pub(super) fn argument(text: &str, limit: usize) -> Result<Vec<u8>, FileError> {
    match text.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => Ok(rest.as_bytes().to_vec()),
        Some(path) => read(Path::new(path), limit),
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// The same as text.
pub(super) fn text(argument_text: &str) -> Result<String, ContentError> {
    String::from_utf8(argument(argument_text, MAX_SIZE)?).map_err(|error| ContentError::NotText {
        // An argument itself is text, so this one names a file.
        path: argument_text.trim_start_matches('@').into(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// The error of a file with content to send.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file cannot be read.
    #[error("{}: {error}: give the path of a file that this user may read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The file is above the limit.
    #[error("{}: the file is larger than {}: give a smaller one", .path.display(), size(*.limit))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_text_or_a_file() {
        assert_eq!(argument("hello", 1).unwrap(), b"hello");
        assert_eq!(argument("", 1).unwrap(), b"");
        assert_eq!(argument("@@hello", 1).unwrap(), b"@hello");
        let manifest = concat!("@", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(argument(manifest, 1 << 20).unwrap().starts_with(b"[package]"));
    }

    #[test]
    fn an_error_names_the_file() {
        let error = argument("@/nonexistent/file", 1).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/file: No such file or directory"), "{error}");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let error = read(Path::new(path), 5).unwrap_err().to_string();
        assert_eq!(error, format!("{path}: the file is larger than 5 B: give a smaller one"));
        // A device has no length.
        let error = read(Path::new("/dev/zero"), 4096).unwrap_err().to_string();
        assert_eq!(error, "/dev/zero: the file is larger than 4 KiB: give a smaller one");
        assert!(read(Path::new("/"), 5 << 30).is_err());
    }
}
