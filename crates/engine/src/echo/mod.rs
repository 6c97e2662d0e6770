//! The echo service (RFC 862) of a server, on TCP and UDP.
//!
//! On UDP anyone can write any address into a datagram, so a service that answers all of them can be
//! made to answer itself, or another echo service, for ever, or to send traffic to a third party
//! (RFC 862 does not mention it; CERT advisory CA-1996-01 does). [`rules`] has what is ignored. Replies
//! are never longer than requests.

pub(crate) mod options;
pub(crate) mod rates;
pub(crate) mod repeats;
pub(crate) mod rules;
pub(crate) mod service;
