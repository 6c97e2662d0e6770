//! The receiving side of a stream in memory, which is always ready.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An endless stream: after the last byte it restarts with the first one. Written bytes are
/// discarded.
pub(crate) struct Lap {
    bytes: Vec<u8>,
    /// The range of the stream in `bytes`.
    range: Range<usize>,
    at: usize,
}

impl Lap {
    const PAGE: usize = 4096;

    /// Places the bytes at this offset of a memory page: a copy between addresses with similar
    /// lower 12 bits is slower.
    pub(crate) fn of(messages: &[u8], place: usize) -> Self {
        let mut bytes = vec![0; messages.len() + 2 * Self::PAGE];
        let start = bytes.as_ptr().align_offset(Self::PAGE) + place % Self::PAGE;
        let range = start..start + messages.len();
        bytes[range.clone()].copy_from_slice(messages);
        Self { bytes, at: range.start, range }
    }

    /// The next bytes, at most `max` of them.
    pub(crate) fn take(&mut self, max: usize) -> &[u8] {
        let end = self.range.end.min(self.at.saturating_add(max));
        let taken = &self.bytes[self.at..end];
        self.at = if end == self.range.end { self.range.start } else { end };
        taken
    }
}

impl io::Read for Lap {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.take(into.len());
        into[..taken.len()].copy_from_slice(taken);
        Ok(taken.len())
    }
}

impl io::Write for Lap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Lap {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        into.put_slice(self.take(into.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lap {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
