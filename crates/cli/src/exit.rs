//! Exit codes: what each means is part of the program's interface.

use std::fmt::Display;
use std::process::ExitCode;

/// How a run ended, when it ended well enough to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is good: 0.
    Good,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Good => Self::SUCCESS,
        }
    }
}

/// An error, as one line for the person at the terminal; the run failed: 1.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// The exit code of a command, after its error has been printed.
pub(crate) fn report(result: Result<Outcome, Failure>) -> ExitCode {
    match result {
        Ok(outcome) => outcome.into(),
        Err(Failure(line)) => {
            eprintln!("ringway: {line}");
            ExitCode::FAILURE
        }
    }
}
