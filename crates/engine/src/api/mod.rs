//! The public types that an application uses.

pub(crate) mod close;
pub(crate) mod connection;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod handler;
pub(crate) mod id;
pub(crate) mod message;
pub(crate) mod opening;
pub(crate) mod plain;
pub(crate) mod refused;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod routes;
pub(crate) mod shard;
pub(crate) mod tls;
pub(crate) mod topic;
