//! The program `ringway`: its output and exit codes.

mod bench;
mod completions;
mod compression;
mod load;
mod man;
mod placement;
mod refusals;
mod sandbox;
mod seccomp;
mod service;
mod serving;
mod signals;
mod unix;
mod usage;
