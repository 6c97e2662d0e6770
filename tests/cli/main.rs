//! The program `ringway`, as a person at a terminal uses it: what it prints, and how it ends.

mod bench;
mod compression;
mod load;
mod placement;
mod refusals;
mod serving;
mod signals;
mod usage;
