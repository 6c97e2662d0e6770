//! Completion-based sockets: one [`Driver`] per core. This crate does not know WebSocket.
//!
//! A driver owns the sockets of one thread. The thread requests operations (listen, receive, send,
//! close), and [`Driver::wait`] returns their results as [`Completion`]s. Ownership follows what
//! the kernel uses: bytes that are being sent belong to the driver from [`Driver::send`] until
//! [`Completion::Sent`] returns them, and received bytes belong to the [`Buffer`] guard until it is
//! dropped.
//!
//! Four drivers implement the trait: [`uring::Uring`] on io_uring (Linux 6.1 or newer),
//! [`epoll::Epoll`] on epoll, with the feature `tokio-uring`, `tokio_uring::TokioUring` on the library
//! of this name (Linux 5.11 or newer), and, with the feature `sim`, `sim::Sim`, on a simulated kernel
//! that injects faults from a seed, for tests.
//!
//! Connections are those of TCP or of Unix sockets: see [`Address`].
//!
//! All `unsafe` code that talks to the kernel is in this crate; UNSAFE.md at the root of the
//! repository lists its invariants.
#![warn(missing_docs)]

mod address;
mod allocator;
mod buffer;
mod busy_poll;
mod cache;
mod datagram;
mod descriptors;
mod detached;
mod driver;
pub mod echo;
pub mod epoll;
mod listener;
mod option;
mod outgoing;
mod output;
mod pages;
mod slab;
mod slot;
mod table;
mod tcp_info;
#[cfg(test)]
mod tests;
#[cfg(feature = "tokio-uring")]
pub mod tokio_uring;
mod unix;
mod waker;
mod wheel;

#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod uring;

pub use address::{Address, AddressError, UnixAddress};
pub use allocator::free_to_system;
#[cfg(feature = "mimalloc")]
pub use allocator::purge_mimalloc;
pub use buffer::{Buffer, BufferConfig, Pool};
pub use datagram::{Datagram, DatagramSocket, PacketInfo};
pub use descriptors::{DescriptorLimit, raise_descriptor_limit};
pub use detached::Detached;
pub use driver::{BusyPoll, Cause, Completion, Driver, Stats};
pub use listener::{BindError, InheritError, Listener};
pub use option::OptionError;
pub use outgoing::{ConnectOptions, SourceError};
pub use output::{Chunk, Output};
pub use slot::Slot;
pub use tcp_info::TcpInfo;
pub use unix::{PeerCredentials, UnixBindError, UnixSocket};
pub use waker::Waker;
pub use wheel::TimerWheel;
