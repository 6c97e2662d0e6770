//! The program `ringway`: its output and exit codes.

mod bench;
mod compression;
mod load;
mod placement;
mod refusals;
mod serving;
mod signals;
mod unix;
mod usage;
