//! The destination of results: standard output, or the file of `--output`.

use crate::exit::Failure;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The destination of a result. Opening it checks that it is writable before the run starts. Until
/// the result is written, an existing file keeps its content and a new one is not created.
pub(crate) struct ResultOutput(OutputPlace);

enum OutputPlace {
    Stdout,
    /// An existing file, or a device or pipe.
    Open(PathBuf, File),
    /// A file that does not exist and can be created.
    New(PathBuf),
}

impl ResultOutput {
    /// Opens standard output, or the file at `path`.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self(OutputPlace::Stdout)) };
        let place = match OpenOptions::new().write(true).open(path) {
            Ok(file) => Ok(OutputPlace::Open(path.into(), file)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                File::create_new(path).and_then(|_| fs::remove_file(path)).map(|()| OutputPlace::New(path.into()))
            }
            Err(error) => Err(error),
        };
        place.map(Self).map_err(|error| cannot_write(path, &error))
    }

    /// Writes the result. A closed pipe, as in `ringway … | head`, is not an error.
    pub(crate) fn write(self, text: &str) -> Result<(), Failure> {
        let text = text.as_bytes();
        match self.0 {
            OutputPlace::Stdout => {
                let mut stdout = io::stdout().lock();
                match stdout.write_all(text).and_then(|()| stdout.flush()) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                    result => result.map_err(|error| Failure(format!("cannot write to standard output: {error}"))),
                }
            }
            OutputPlace::Open(path, mut file) => {
                // Fails for a device or a pipe, which cannot be truncated.
                let _ = file.set_len(0);
                match file.write_all(text) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                    result => result.map_err(|error| cannot_write(&path, &error)),
                }
            }
            OutputPlace::New(path) => fs::write(&path, text).map_err(|error| cannot_write(&path, &error)),
        }
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure(format!("cannot write {}: {error}", path.display()))
}
