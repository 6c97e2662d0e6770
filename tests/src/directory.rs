//! A directory of one test.

use std::fs;
use std::path::{Path, PathBuf};

/// A new directory among the temporary files. It is removed with its files.
#[derive(Debug)]
pub struct TestDirectory(PathBuf);

impl TestDirectory {
    /// Creates the directory of a test with this name.
    #[must_use]
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-{}-{test}", std::process::id()));
        fs::create_dir(&path).expect("no other test has this name");
        Self(path)
    }

    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of its files.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("it exists").map(|entry| entry.expect("it can be read"));
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
