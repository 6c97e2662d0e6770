//! The words of the flags that describe traffic.

use clap::ValueEnum;
use ringway_loadtest::{Arrivals, Verify};

/// The part of each reply to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyName {
    /// None: replies are counted in order
    Off,
    /// Kind, length and sequence number of each, content of every 64th
    Sample,
    /// Kind, length and content of each
    All,
}

impl VerifyName {
    pub(crate) fn verify(self) -> Verify {
        match self {
            Self::Off => Verify::Off,
            Self::Sample => Verify::Sample,
            Self::All => Verify::All,
        }
    }
}

/// How the messages of an open loop are distributed over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalsName {
    /// At equal distances
    Uniform,
    /// At random, as of many independent users
    Poisson,
}

impl ArrivalsName {
    pub(crate) fn arrivals(self) -> Arrivals {
        match self {
            Self::Uniform => Arrivals::Uniform,
            Self::Poisson => Arrivals::Poisson,
        }
    }
}
