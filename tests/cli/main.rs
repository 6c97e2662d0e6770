//! The program `ringway`: its output and exit codes.

mod apps;
mod bench;
mod completions;
mod compression;
mod documents;
mod handover;
mod http;
mod live;
mod load;
mod man;
mod opening;
mod placement;
mod refusals;
mod sandbox;
mod scenario;
mod schema;
mod seccomp;
mod service;
mod serving;
mod signals;
mod tls;
mod tls_hostile;
mod tls_load;
mod unix;
mod unreachable;
mod usage;
