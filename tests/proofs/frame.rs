//! What the proofs share: one at a time, the cores of both sides, and bounds that are printed.

use ringway::placement::CoreSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// The proofs run one after another: each of them measures times.
static TURN: Mutex<()> = Mutex::new(());

/// The figures of a proof so far.
pub(crate) struct Proof {
    name: &'static str,
    /// The part that the following figures belong to.
    part: String,
    failures: Vec<String>,
}

/// Runs a proof, alone.
///
/// # Panics
/// If a figure is out of its bounds.
pub(crate) fn prove(name: &'static str, body: impl FnOnce(&mut Proof)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut proof = Proof { name, part: String::new(), failures: Vec::new() };
    body(&mut proof);
    assert!(proof.failures.is_empty(), "{name}:\n{}", proof.failures.join("\n"));
}

/// The same on two cores: the first one for the server and the last one for the generator.
pub(crate) fn prove_on_two_cores(name: &'static str, body: impl FnOnce(&mut Proof, Cores)) {
    match Cores::read() {
        Ok(cores) => prove(name, |proof| body(proof, cores)),
        Err(why) => eprintln!("NOT TESTED: {name}: {why}"),
    }
}

impl Proof {
    /// Names the part that the following figures belong to.
    pub(crate) fn part(&mut self, part: impl Display) {
        self.part = part.to_string();
    }

    /// Checks a figure.
    pub(crate) fn within(&mut self, figure: &str, value: f64, bounds: RangeInclusive<f64>) {
        let said = format!("{value:.4} in {:.4}..={:.4}", bounds.start(), bounds.end());
        self.check(figure, said, bounds.contains(&value));
    }

    /// Checks a figure that has no upper bound.
    pub(crate) fn at_least(&mut self, figure: &str, value: f64, bound: f64) {
        self.check(figure, format!("{value:.4} at least {bound:.4}"), value >= bound);
    }

    /// Checks a count.
    pub(crate) fn equal(&mut self, figure: &str, value: u64, expected: u64) {
        self.check(figure, format!("{value} equals {expected}"), value == expected);
    }

    /// Checks a word.
    pub(crate) fn one_of(&mut self, figure: &str, value: &str, expected: &[&str]) {
        self.check(figure, format!("{value} of {expected:?}"), expected.contains(&value));
    }

    /// Prints a figure without a bound.
    pub(crate) fn note(&self, figure: &str, value: impl Display) {
        println!("proof | {} | {} | {figure} | {value} | noted", self.name, self.part);
    }

    /// Checks what `said` describes.
    pub(crate) fn check(&mut self, figure: &str, said: String, holds: bool) {
        let verdict = if holds { "holds" } else { "FAILS" };
        println!("proof | {} | {} | {figure} | {said} | {verdict}", self.name, self.part);
        if !holds {
            self.failures.push(format!("{}: {figure}: {said}", self.part));
        }
    }
}

/// The cores of both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) generator: usize,
}

impl Cores {
    /// The first and the last core that this process may run on, or why it has no two.
    pub(crate) fn read() -> Result<Self, String> {
        let set = CoreSet::read().map_err(|error| error.to_string())?;
        if let Some(quota) = set.quota_below() {
            return Err(format!("the CPU quota ({quota:?}) is below the number of cores"));
        }
        match *set.cores().as_slice() {
            [server, .., generator] => Ok(Self { server, generator }),
            _ => Err("this process may run on one core only".to_owned()),
        }
    }
}
