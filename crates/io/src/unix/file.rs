//! The file of a Unix socket.

use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A socket file that this process has made. Dropping it removes the file, unless the path leads to
/// another one by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    handle: FileHandle,
    /// Whether this process removes it.
    owned: AtomicBool,
}

impl SocketFile {
    /// The file that bind(2) has just made at `path`.
    pub(super) fn made_at(path: &Path) -> io::Result<Self> {
        // The working directory may change before the file is removed.
        Ok(Self { path: std::path::absolute(path)?, handle: FileHandle::open(path)?, owned: AtomicBool::new(true) })
    }

    /// The file of another process, which this one does not remove yet.
    pub(crate) fn taken_over(path: &Path) -> io::Result<Self> {
        let file = Self::made_at(path)?;
        file.own(false);
        Ok(file)
    }

    /// Sets whether this process removes the file.
    pub(crate) fn own(&self, owned: bool) {
        self.owned.store(owned, Ordering::Release);
    }

    /// Whether the path still leads to this file.
    pub(super) fn is_in_place(&self) -> bool {
        self.handle.is_at(&self.path)
    }

    /// Changes the owner, the group, or both.
    pub(super) fn set_owner(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        std::os::unix::fs::chown(self.handle.path(), user, group)
    }

    /// Changes the permissions.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.handle.path(), Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.owned.load(Ordering::Acquire)
            && self.is_in_place()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), "the socket file could not be removed: {error}");
        }
    }
}

/// A handle on a file, which neither reads nor writes it. It keeps the number of the inode in use,
/// so that no later file has the same one.
#[derive(Debug)]
pub(super) struct FileHandle(OwnedFd, Metadata);

impl FileHandle {
    /// Opens the file at `path`. A symbolic link is not followed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // `OpenOptions::custom_flags` drops O_PATH on musl, where it is part of O_ACCMODE.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        Ok(Self(file.into(), metadata))
    }

    pub(super) fn is_socket(&self) -> bool {
        self.1.file_type().is_socket()
    }

    /// The kind of the file, for an error about a file that is not a socket.
    pub(super) fn kind(&self) -> &'static str {
        let kind = self.1.file_type();
        match () {
            () if kind.is_dir() => "a directory",
            () if kind.is_symlink() => "a symbolic link",
            () if kind.is_file() => "a regular file",
            () => "a device or a pipe",
        }
    }

    /// Whether `path` leads to this file.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let same = |found: Metadata| (found.dev(), found.ino()) == (self.1.dev(), self.1.ino());
        fs::symlink_metadata(path).is_ok_and(same)
    }

    /// A path that leads to this file wherever it is, while the handle exists (proc(5)).
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}
