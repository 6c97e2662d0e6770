//! The sending side of a stream in memory: written bytes are copied, as the kernel copies them to a
//! socket's buffer.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The size of a socket's buffer; it is overwritten repeatedly.
const BUFFER: usize = 64 << 10;

pub(crate) struct Sink {
    buffer: Vec<u8>,
    at: usize,
    /// A record of all written bytes, if they are to be checked.
    kept: Option<Rc<RefCell<Vec<u8>>>>,
}

impl Sink {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; BUFFER], at: 0, kept: None }
    }

    /// A sink that records the written bytes.
    pub(crate) fn keeping(kept: &Rc<RefCell<Vec<u8>>>) -> Self {
        Self { kept: Some(Rc::clone(kept)), ..Self::new() }
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        if let Some(kept) = &self.kept {
            kept.borrow_mut().extend_from_slice(bytes);
        }
        while !bytes.is_empty() {
            let room = &mut self.buffer[self.at..];
            let (now, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.at = (self.at + now.len()) % BUFFER;
            bytes = rest;
        }
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.copy(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().for_each(|slice| self.copy(slice));
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for Sink {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl AsyncWrite for Sink {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.copy(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        slices.iter().for_each(|slice| self.copy(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Sink {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}
