//! What the proofs share: one at a time, the cores of both sides, and bounds that are printed.
//!
//! Bounds of times hold on a machine that has nothing else to do. A proof whose only failures are
//! such bounds is repeated if other processes used the cores meanwhile, or if the machine is slow in
//! what a bound depends on; the bounds stay. Counts must hold always.

use crate::surroundings::Surroundings;
use ringway::placement::CoreSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// The proofs run one after another: each of them measures times.
static TURN: Mutex<()> = Mutex::new(());

/// The maximum number of attempts of a proof that other processes disturb.
const ATTEMPTS: u32 = 5;

/// The CPU time of other processes, in cores, from which on a proof is disturbed.
const DISTURBED: f64 = 0.05;

/// The figures of a proof so far.
pub(crate) struct Proof {
    name: &'static str,
    /// The part that the following figures belong to.
    part: String,
    failures: Vec<String>,
    /// Whether a count is among the failures.
    is_miscounted: bool,
    /// Whether the machine was too slow for a bound.
    is_disturbed: bool,
}

/// Runs a proof, alone.
///
/// # Panics
/// If a count is wrong, or another figure is out of its bounds in an attempt that nothing has
/// disturbed, or in the last one.
pub(crate) fn prove(name: &'static str, mut body: impl FnMut(&mut Proof)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for attempt in 1.. {
        let mut proof =
            Proof { name, part: String::new(), failures: Vec::new(), is_miscounted: false, is_disturbed: false };
        let surroundings = Surroundings::begin();
        body(&mut proof);
        if proof.failures.is_empty() {
            return;
        }
        let others = surroundings.cores_of_others();
        let failures = proof.failures.join("\n");
        let is_disturbed = proof.is_disturbed || others >= DISTURBED;
        let is_final = proof.is_miscounted || !is_disturbed || attempt == ATTEMPTS;
        assert!(!is_final, "{name}, attempt {attempt}, with {others:.2} cores used by others:\n{failures}");
        println!("proof | {name} | attempt {attempt} | {others:.2} cores used by others | repeated");
    }
}

/// The same on two cores: the first one for the server and the last one for the generator.
pub(crate) fn prove_on_two_cores(name: &'static str, mut body: impl FnMut(&mut Proof, Cores)) {
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
        self.record(figure, &said, bounds.contains(&value));
    }

    /// Checks a figure that has no upper bound.
    pub(crate) fn at_least(&mut self, figure: &str, value: f64, bound: f64) {
        self.record(figure, &format!("{value:.4} at least {bound:.4}"), value >= bound);
    }

    /// Checks a count.
    pub(crate) fn equal(&mut self, figure: &str, value: u64, expected: u64) {
        self.check(figure, format!("{value} equals {expected}"), value == expected);
    }

    /// Checks a word.
    pub(crate) fn one_of(&mut self, figure: &str, value: &str, expected: &[&str]) {
        self.record(figure, &format!("{value} of {expected:?}"), expected.contains(&value));
    }

    /// The machine itself is slow in what a bound depends on: the proof is repeated if it fails.
    pub(crate) fn disturbed(&mut self) {
        self.is_disturbed = true;
    }

    /// Prints a figure without a bound.
    pub(crate) fn note(&self, figure: &str, value: impl Display) {
        println!("proof | {} | {} | {figure} | {value} | noted", self.name, self.part);
    }

    /// Checks what `said` describes. As a count, it must hold whatever else the machine does.
    pub(crate) fn check(&mut self, figure: &str, said: String, holds: bool) {
        self.record(figure, &said, holds);
        self.is_miscounted |= !holds;
    }

    fn record(&mut self, figure: &str, said: &str, holds: bool) {
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
