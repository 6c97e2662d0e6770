//! `ringway load`.

pub(crate) mod arguments;
pub(crate) mod mix;
mod plan;
pub(crate) mod traffic;

use crate::choices::Format;
use crate::exit::{ExitOutcome, Failure, machine_failure, usage};
use crate::limits;
use crate::live::{LiveView, Rate};
use crate::output::ResultOutput;
use crate::signals::Signals;
use arguments::Load;
use plan::PlanFailure;
use ringway::{ConnectError, StartError};
use ringway_loadtest::{LoadError, Progress, RunPhase, count, time};
use std::time::Instant;

pub(crate) fn run(arguments: &Load) -> Result<ExitOutcome, Failure> {
    limits::raise_open_files();
    let signals = Signals::watch()?;
    let plan = match plan::plan(arguments, signals.stop.clone()) {
        Ok(plan) => plan,
        Err(PlanFailure::Usage(error)) => return usage(&error),
        Err(PlanFailure::Other(failure)) => return Err(failure),
    };
    if let Err(error) = plan.check() {
        return usage(&error.to_string());
    }
    let output = ResultOutput::open(arguments.output.as_deref())?;
    let mut live = LiveView::new(arguments.quiet);
    let mut rate = Rate::over(live.window());
    let result = ringway_loadtest::run(&plan, &mut |progress| {
        let per_second = rate.take(Instant::now(), progress.messages);
        live.show(|| line(progress, per_second));
    });
    drop(live);
    let report = match result {
        Ok(report) => report,
        Err(
            error @ LoadError::Target(ConnectError::Url(_) | ConnectError::Address(_) | ConnectError::TlsConfig(_)),
        ) => {
            return usage(&error.to_string());
        }
        Err(LoadError::Target(error @ ConnectError::Name(..))) => {
            return Err(Failure(format!("{error}; check the name, or give its address (--resolve HOST:PORT:ADDR)")));
        }
        Err(error @ (LoadError::OpenFiles { .. } | LoadError::Start(StartError::Refused(_)))) => {
            return Err(machine_failure(error));
        }
        Err(error) => {
            return signals.caught().map_or_else(|| Err(error.into()), |signal| Ok(ExitOutcome::Interrupted(signal)));
        }
    };
    let text = match arguments.format {
        Format::Text if arguments.latency => report.to_text(columns()) + "\n" + &report.distribution(),
        Format::Text => report.to_text(columns()),
        Format::Json => report.to_json() + "\n",
    };
    output.write(&text)?;
    if let Some(why) = report.connect_failure() {
        eprintln!("ringway: {why}");
    }
    Ok(if let Some(signal) = signals.caught() {
        ExitOutcome::Interrupted(signal)
    } else if report.is_failure() {
        ExitOutcome::Failed
    } else if report.is_void() {
        ExitOutcome::Inconclusive
    } else {
        ExitOutcome::Good
    })
}

/// The columns of the text: those of the terminal within limits, or [`COLUMNS`] elsewhere.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    match size.map_or(0, |size| usize::from(size.ws_col)) {
        0 => COLUMNS,
        columns => columns.clamp(80, MAX_COLUMNS),
    }
}

/// The columns of a text that does not go to a terminal.
const COLUMNS: usize = 100;

/// The columns above which long lines are harder to read.
const MAX_COLUMNS: usize = 120;

/// The progress in one line; the most important figures are first.
fn line(progress: &Progress, per_second: f64) -> String {
    // Most of the time, the phase is that of measuring.
    let mut line = match progress.phase {
        RunPhase::Measure => String::new(),
        phase => format!("{} ", phase.name()),
    };
    let elapsed = progress.elapsed.as_secs_f64();
    line += &match (progress.of, progress.of_messages) {
        (Some(of), _) => format!("{elapsed:.1}/{} s", of.as_secs_f64()),
        (None, Some(of)) => format!("{elapsed:.1} s, {} messages", count(of as f64)),
        (None, None) => format!("{elapsed:.1} s"),
    };
    if progress.phase >= RunPhase::WarmUp {
        line += &format!("  {}/s", count(per_second));
        if let (Some(p50), Some(p99)) = (progress.p50, progress.p99) {
            line += &format!("  p50 {}  p99 {}", time(p50), time(p99));
        }
        line += &format!("  {} errors", count(progress.errors as f64));
        line += &format!("  backlog {}", count(progress.backlog as f64));
    } else if progress.errors > 0 {
        line += &format!("  {} errors", count(progress.errors as f64));
    }
    line += &format!("  {} open", count(progress.open as f64));
    if progress.failed > 0 {
        line += &format!(", {} failed", count(progress.failed as f64));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_progress_line_has_the_current_figures() {
        let progress = Progress {
            phase: RunPhase::Connect,
            elapsed: Duration::from_secs(1),
            of: None,
            of_messages: None,
            open: 7,
            failed: 0,
            messages: 0,
            per_second: 0.0,
            p50: None,
            p99: None,
            backlog: 0,
            errors: 0,
        };
        assert_eq!(line(&progress, 0.0), "connecting 1.0 s  7 open");
        let of = Some(Duration::from_secs(10));
        let progress = Progress {
            phase: RunPhase::Measure,
            of,
            p50: Some(120.0),
            p99: Some(1500.0),
            backlog: 12,
            failed: 1,
            errors: 3,
            ..progress
        };
        assert_eq!(
            line(&progress, 2.5e6),
            "1.0/10 s  2.50 M/s  p50 120 µs  p99 1.50 ms  3 errors  backlog 12  7 open, 1 failed"
        );
        let counting = Progress { of: None, of_messages: Some(20_000), errors: 0, failed: 0, backlog: 0, ..progress };
        let line = line(&counting, 0.0);
        assert_eq!(line, "1.0 s, 20.0 k messages  0/s  p50 120 µs  p99 1.50 ms  0 errors  backlog 0  7 open");
    }
}
