//! The metrics of a server: what they say is compared with what the clients of a test did, and what
//! the documents say about them with what a server exports.
//!
//! `tests/metrics/run` lets Prometheus scrape the program.

mod documents;
mod exposition;
mod scrape;
mod truth;
