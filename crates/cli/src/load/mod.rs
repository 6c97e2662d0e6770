//! `ringway load`.

use crate::arguments::{Format, Load, Loading, Verifying};
use crate::exit::{ExitOutcome, Failure, usage};
use crate::limits;
use crate::live::LiveLine;
use crate::output::ResultOutput;
use crate::signals::Signals;
use crate::tls::LoadTlsError;
use crate::values::cores_of;
use ringway::{ConnectError, HeaderMap};
use ringway_loadtest::{LoadError, Mode, Plan, Progress, RunLength, RunPhase, Stop, Verify, count, time};

pub(crate) fn run(arguments: &Load) -> Result<ExitOutcome, Failure> {
    limits::raise_open_files();
    let signals = Signals::watch()?;
    if arguments.origin.is_some() && arguments.header.iter().any(|(name, _)| name == "origin") {
        return usage("give the origin once: with --origin, or with -H");
    }
    let tls = match arguments.tls.client(&arguments.url) {
        Ok(tls) => tls,
        Err(LoadTlsError::Usage(error)) => return usage(&error),
        Err(LoadTlsError::Tls(error)) => return Err(error.into()),
    };
    let plan = Plan { tls, ..plan(arguments, signals.stop.clone()) };
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

fn plan(arguments: &Load, stop: Stop) -> Plan {
    let length = match arguments.messages {
        Some(messages) => RunLength::Messages(messages),
        None => RunLength::Time(arguments.duration),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &arguments.header {
        headers.append(name.clone(), value.clone());
    }
    Plan {
        connections: arguments.connections,
        threads: arguments.threads,
        cores: cores_of(arguments.cores.as_ref()),
        length,
        warmup: arguments.warmup,
        pipeline: arguments.pipeline,
        sizes: arguments.size.clone(),
        binary: arguments.binary,
        mode: match arguments.mode {
            Loading::Echo => Mode::Echo,
            Loading::Send => Mode::Send,
            Loading::Idle => Mode::Idle,
        },
        verify: match arguments.verify {
            Verifying::Off => Verify::Off,
            Verifying::Sample => Verify::Sample,
            Verifying::All => Verify::All,
        },
        seed: arguments.seed,
        busy_poll: arguments.busy_poll,
        driver: arguments.driver.choice(),
        connect_rate: arguments.connect_rate.map(|rate| rate as f64),
        connect_concurrency: arguments.connect_concurrency,
        headers,
        origin: arguments.origin.clone(),
        subprotocols: arguments.subprotocol.clone(),
        deflate: arguments.deflate.config(),
        connect_timeout: arguments.connect_timeout,
        stop,
        ..Plan::new(&*arguments.url)
    }
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
    }
    line += &format!("  {} connections", progress.open);
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
            errors: 0,
        };
        assert_eq!(line(&progress), "connecting  7 connections");
        let of = Some(Duration::from_secs(10));
        let progress = Progress { phase: RunPhase::Measure, of, per_second: 2.5e6, failed: 1, errors: 3, ..progress };
        assert_eq!(line(&progress), "measuring  1.00 s of 10.0 s  2.50 M/s  7 connections  1 failed  3 errors");
    }
}
