//! The system calls that move bytes: one recv(2) into a buffer of the pool, one send(2) or
//! sendmsg(2) of an output.

use crate::{Buffer, Chunk, Output, Pool};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

/// The maximum number of bytes of one send. The kernel writes at most 2 GiB less a page per call,
/// and a call that writes less than it was given is taken for a full socket.
const MAX_SEND: usize = 1 << 30;

/// The result of one receive.
pub(crate) enum Reception {
    /// Bytes, at least one.
    Bytes(Buffer),
    /// The peer has ended its sending direction.
    End,
    /// No buffer is free.
    NoBuffer,
    /// The error of recv(2).
    Failed(Errno),
}

/// Receives once into a free buffer. Does not wait.
pub(super) fn receive(socket: BorrowedFd<'_>, pool: &Pool) -> Reception {
    let Some(index) = pool.take() else { return Reception::NoBuffer };
    let (start, size) = pool.address(index);
    // SAFETY: `take` made this call the only user of the buffer, which is `size` bytes long. The
    // bytes may be uninitialised.
    let memory = unsafe { std::slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), size) };
    let result = rustix::net::recv(socket, memory, RecvFlags::DONTWAIT).map(|((received, _), _)| received.len());
    match result {
        // SAFETY: the index was taken above and is not put back. recv(2) has returned and has
        // initialised the first `len` bytes. `memory` is not used any more.
        Ok(len) if len > 0 => Reception::Bytes(unsafe { pool.guard(index, len) }),
        Ok(_) => {
            pool.put_back(index);
            Reception::End
        }
        Err(error) => {
            pool.put_back(index);
            Reception::Failed(error)
        }
    }
}

/// The number of bytes of `output` that one send writes: those of the first [`Output::MAX_CHUNKS`]
/// chunks, at most [`MAX_SEND`].
pub(crate) fn sendable(output: &Output) -> usize {
    let chunks = output.chunks().take(Output::MAX_CHUNKS);
    chunks.map(Chunk::len).sum::<usize>().min(MAX_SEND)
}

/// Writes the bytes of `output` from `written` to `end`, as far as the socket takes them. Does not
/// wait.
pub(super) fn send(socket: BorrowedFd<'_>, output: &Output, written: usize, end: usize) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let chunks = match output {
        Output::One(chunk) => return rustix::net::send(socket, &chunk.as_slice()[written..end], flags),
        Output::Many(chunks) => chunks,
    };
    let (mut slices, mut count) = ([IoSlice::new(&[]); Output::MAX_CHUNKS], 0);
    let (mut skip, mut left) = (written, end - written);
    for chunk in chunks {
        let bytes = chunk.as_slice();
        if skip >= bytes.len() {
            skip -= bytes.len();
            continue;
        }
        let bytes = &bytes[skip..];
        let bytes = &bytes[..bytes.len().min(left)];
        skip = 0;
        left -= bytes.len();
        slices[count] = IoSlice::new(bytes);
        count += 1;
        if left == 0 {
            break;
        }
    }
    rustix::net::sendmsg(socket, &slices[..count], &mut SendAncillaryBuffer::default(), flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BufferConfig;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn pool(count: u16) -> Pool {
        Pool::new(&BufferConfig { size: 1024, count, ready: Some(1), working_set: None }).expect("in range")
    }

    #[test]
    fn every_part_of_an_output_is_sent_from_every_offset() {
        let chunks = [b"ab".as_slice(), b"", b"cdef", b"g"];
        for (written, end) in (0..7).flat_map(|written| (written + 1..=7).map(move |end| (written, end))) {
            for output in [
                Output::Many(chunks.iter().map(|bytes| Chunk::from(bytes.to_vec())).collect()),
                Output::One(Chunk::from(b"abcdefg".to_vec())),
            ] {
                let (ours, mut theirs) = UnixStream::pair().expect("two descriptors");
                assert_eq!(send(ours.as_fd(), &output, written, end), Ok(end - written));
                drop(ours);
                let mut all = Vec::new();
                theirs.read_to_end(&mut all).expect("a local socket");
                assert_eq!(all, b"abcdefg"[written..end]);
            }
        }
    }

    #[test]
    fn a_send_covers_the_first_chunks_up_to_the_maximum_number() {
        let chunks = |count: usize| Output::Many((0..count).map(|_| vec![0; 3].into()).collect());
        assert_eq!(sendable(&chunks(Output::MAX_CHUNKS)), Output::MAX_CHUNKS * 3);
        assert_eq!(sendable(&chunks(Output::MAX_CHUNKS + 1)), Output::MAX_CHUNKS * 3);
        assert_eq!(sendable(&Output::Many(Vec::new())), 0);
    }

    #[test]
    fn a_receive_returns_its_buffer_unless_it_has_bytes() {
        let pool = pool(1);
        let (ours, mut theirs) = UnixStream::pair().expect("two descriptors");
        assert!(matches!(receive(ours.as_fd(), &pool), Reception::Failed(Errno::AGAIN)));
        theirs.write_all(&[7; 1500]).expect("a local socket");
        let Reception::Bytes(buffer) = receive(ours.as_fd(), &pool) else { panic!("bytes have arrived") };
        assert_eq!(*buffer, [7; 1024]);
        assert!(matches!(receive(ours.as_fd(), &pool), Reception::NoBuffer));
        drop(buffer);
        assert!(matches!(receive(ours.as_fd(), &pool), Reception::Bytes(buffer) if buffer.len() == 476));
        drop(theirs);
        assert!(matches!(receive(ours.as_fd(), &pool), Reception::End));
        assert_eq!(pool.free(), 1);
    }
}
