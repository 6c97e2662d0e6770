//! Exit codes. They are part of the program's interface.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// The outcome of a run that has not failed with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitOutcome {
    /// Success: 0.
    Good,
    /// The run failed, and its report has the reason: 1.
    Failed,
    /// The command line is invalid, and the reason has been printed: 2.
    Usage,
    /// The results are inconclusive: 4.
    Inconclusive,
    /// A signal ended the run, and the part up to it has been reported: 128 plus the signal's
    /// number.
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

/// An error, as one line for the terminal; the run failed: 1.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// The failure by a limit of the machine, or by a feature that the machine refuses: the line ends
/// with the command that shows all of them.
pub(crate) fn machine_failure(error: impl Display) -> Failure {
    Failure(format!("{error}; see `ringway doctor`"))
}

/// Prints an error of the command line.
pub(crate) fn usage(what: &str) -> Result<ExitOutcome, Failure> {
    eprintln!("ringway: {what}\n\nFor more information, try '--help'.");
    Ok(ExitOutcome::Usage)
}

/// The exit code of a command, after its error has been printed.
pub(crate) fn report(result: Result<ExitOutcome, Failure>) -> ExitCode {
    match result {
        Ok(outcome) => outcome.into(),
        Err(Failure(line)) => {
            // A terminal that has gone takes no line, and `eprintln` would panic.
            let _ = writeln!(std::io::stderr(), "ringway: {line}");
            ExitCode::FAILURE
        }
    }
}
