//! Exit codes: what each means is part of the program's interface.

use std::fmt::Display;
use std::process::ExitCode;

/// How a run ended, when it ended well enough to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitOutcome {
    /// All is good: 0.
    Good,
    /// The run failed, and its report says how: 1.
    Failed,
    /// The command line makes no sense, and it was said why: 2.
    Usage,
    /// What was found is not to be trusted: 4.
    Inconclusive,
    /// The run was ended by this signal, and what it had found by then was reported: 128 more than the signal's number.
    Interrupted(u8),
}

impl From<ExitOutcome> for ExitCode {
    fn from(outcome: ExitOutcome) -> Self {
        match outcome {
            ExitOutcome::Good => Self::SUCCESS,
            ExitOutcome::Failed => Self::FAILURE,
            ExitOutcome::Usage => Self::from(2),
            ExitOutcome::Inconclusive => Self::from(4),
            ExitOutcome::Interrupted(signal) => Self::from(128 + signal),
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

/// Says what is wrong with the command line.
pub(crate) fn usage(what: &str) -> Result<ExitOutcome, Failure> {
    eprintln!("ringway: {what}\n\nFor more information, try '--help'.");
    Ok(ExitOutcome::Usage)
}

/// The exit code of a command, after its error has been printed.
pub(crate) fn report(result: Result<ExitOutcome, Failure>) -> ExitCode {
    match result {
        Ok(outcome) => outcome.into(),
        Err(Failure(line)) => {
            eprintln!("ringway: {line}");
            ExitCode::FAILURE
        }
    }
}
