//! `ringway load`.

pub(crate) mod arguments;
pub(crate) mod mix;
mod plan;
pub(crate) mod traffic;

use crate::arguments::Format;
use crate::exit::{ExitOutcome, Failure, usage};
use crate::limits;
use crate::live::LiveLine;
use crate::output::ResultOutput;
use crate::signals::Signals;
use arguments::Load;
use plan::PlanFailure;
use ringway::ConnectError;
use ringway_loadtest::{LoadError, Progress, RunPhase, count, time};

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
    let live = LiveLine::new();
    let result = ringway_loadtest::run(&plan, &mut |progress| live.show(|| line(progress)));
    drop(live);
    let report = match result {
        Ok(report) => report,
        Err(
            error @ LoadError::Target(ConnectError::Url(_) | ConnectError::Address(_) | ConnectError::TlsConfig(_)),
        ) => {
            return usage(&error.to_string());
        }
        Err(error) => {
            return signals.caught().map_or_else(|| Err(error.into()), |signal| Ok(ExitOutcome::Interrupted(signal)));
        }
    };
    let text = match arguments.format {
        Format::Text if arguments.latency => report.to_text() + "\n" + &report.distribution(),
        Format::Text => report.to_text(),
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

fn line(progress: &Progress) -> String {
    let mut line = progress.phase.name().to_owned();
    if progress.phase >= RunPhase::WarmUp {
        let elapsed = time(progress.elapsed.as_secs_f64() * 1e6);
        line += &match (progress.of, progress.of_messages) {
            (Some(of), _) => format!("  {elapsed} of {}", time(of.as_secs_f64() * 1e6)),
            (None, Some(of)) => format!("  {elapsed}, {} messages to be answered", count(of as f64)),
            (None, None) => format!("  {elapsed}"),
        };
        line += &format!("  {}/s", count(progress.per_second));
        if let (Some(p50), Some(p99)) = (progress.p50, progress.p99) {
            line += &format!("  p50 {}  p99 {}", time(p50), time(p99));
        }
    }
    line += &format!("  {} connections", progress.open);
    if progress.backlog > 0 {
        line += &format!("  backlog {}", count(progress.backlog as f64));
    }
    if progress.failed > 0 {
        line += &format!("  {} failed", progress.failed);
    }
    if progress.errors > 0 {
        line += &format!("  {} errors", progress.errors);
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
        assert_eq!(line(&progress), "connecting  7 connections");
        let of = Some(Duration::from_secs(10));
        let progress = Progress {
            phase: RunPhase::Measure,
            of,
            per_second: 2.5e6,
            p50: Some(120.0),
            p99: Some(1500.0),
            backlog: 12,
            failed: 1,
            errors: 3,
            ..progress
        };
        assert_eq!(
            line(&progress),
            "measuring  1.00 s of 10.0 s  2.50 M/s  p50 120 µs  p99 1.50 ms  7 connections  backlog 12  1 failed  3 errors"
        );
    }
}
