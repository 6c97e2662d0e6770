//! Proofs that the figures of `ringway load` are true, against servers whose truth is known: a
//! wrong way to measure, each named where its bound is, leaves the bounds.
//!
//! Generator and server are two processes, as in use: [`ImpairedServer`] runs in this process, and
//! `ringway serve` in a third one. A bound is on a quantile that a disturbance of the machine moves
//! little, or is taken from the server's own record of the same run, so that a disturbance of the
//! server cancels out; counts are exact. There is no time limit. A proof is repeated only if other
//! processes used the cores meanwhile or idle cores wake slowly, and never for a count. Each proof
//! prints its figures with their bounds (`cargo test -p ringway-tests --test proofs -- --nocapture`).
//!
//! [`ImpairedServer`]: ringway_testkit::impaired::ImpairedServer

#![forbid(unsafe_code)]

mod datagrams;
mod delay;
mod faults;
mod frame;
mod generator;
mod merged;
mod rate;
mod servers;
mod stall;
mod starved;
mod surroundings;
mod unreadable;
