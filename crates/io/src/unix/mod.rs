//! Unix sockets: the file of a listener, and what the kernel reports about a connection.

mod bind;
mod file;
mod info;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use bind::bind;
pub use bind::{UnixBindError, UnixSocket};
pub(crate) use file::SocketFile;
pub use info::PeerCredentials;
pub(crate) use info::{peer_credentials, queued};
