//! Scenarios: plans in TOML files. `docs/scenarios.md` describes the keys, and `loadtest/scenarios`
//! has examples.
//!
//! ```
//! use ringway_loadtest::Scenario;
//! use std::path::Path;
//!
//! let text = r#"
//! duration = "30s"
//!
//! [[targets]]
//! url = ":9001"
//!
//! [[populations]]
//! behaviour = "idle"
//! connections = "10k"
//! ping = "20s"
//! "#;
//! let plan = Scenario::parse(text, Path::new("idle.toml"))?.plan()?;
//! assert_eq!(plan.connections(), 10_000);
//! let error = Scenario::parse("duration = \"soon\"", Path::new("a.toml")).unwrap_err();
//! assert!(error.to_string().starts_with("a.toml:1: duration = \"soon\": give a time"));
//! # Ok::<(), ringway_loadtest::ScenarioError>(())
//! ```

mod error;
mod file;
mod offer;
mod population;
#[cfg(test)]
mod tests;
mod value;

pub use error::ScenarioError;

use crate::plan::{ConnectPlan, Plan, PlanError, RunLength, Target};
use file::File;
use std::fmt;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The maximum length of a file.
const MAX_FILE: u64 = 1 << 20;

/// A scenario, from which a plan is made. Values of the command line can replace those of the file
/// before.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name of the file. Relative paths in the scenario begin at its folder.
    path: PathBuf,
    text: String,
    file: File,
    length: Option<RunLength>,
    warmup: Option<Duration>,
    targets: Vec<Target>,
}

impl Scenario {
    /// The scenario in a file of at most 1 MiB.
    ///
    /// # Errors
    /// A file that cannot be read; and as of [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let failed = |error: std::io::Error| {
            ScenarioError::of_file(path, format!("{error}: give the path of a file that this user may read"))
        };
        let mut text = String::new();
        let length = fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
        if length.map_err(failed)? as u64 > MAX_FILE {
            return Err(ScenarioError::of_file(path, "the file is larger than 1 MiB: give a smaller one"));
        }
        Self::parse(&text, path)
    }

    /// The scenario in a text; `path` names it in errors, and relative paths in it begin at the
    /// folder of `path`.
    ///
    /// # Errors
    /// Text that is not TOML, a key that is unknown, and a value that is invalid by itself.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ScenarioError> {
        let file = toml::from_str(text).map_err(|error: toml::de::Error| match error.span() {
            Some(span) => ScenarioError::at(path, text, &span, error.message()),
            None => ScenarioError::of_file(path, error.message()),
        })?;
        Ok(Self { path: path.to_owned(), text: text.to_owned(), file, length: None, warmup: None, targets: Vec::new() })
    }

    /// Replaces the length of the run.
    pub fn set_length(&mut self, length: RunLength) {
        self.length = Some(length);
    }

    /// Replaces the warm-up.
    pub fn set_warmup(&mut self, warmup: Duration) {
        self.warmup = Some(warmup);
    }

    /// Replaces all targets.
    pub fn set_targets(&mut self, targets: Vec<Target>) {
        self.targets = targets;
    }

    /// The plan. What the scenario does not say has the defaults of [`Plan::new`].
    ///
    /// # Errors
    /// Values that do not fit together, files that cannot be read, and what [`Plan::check`]
    /// refuses.
    pub fn plan(&self) -> Result<Plan, ScenarioError> {
        let file = &self.file;
        let defaults = Plan::new("");
        let length = self.length()?;
        let mut plan = Plan {
            targets: self.targets()?,
            length,
            warmup: self.warmup.or(file.warmup.as_ref().map(|time| time.0)),
            connect: self.connect(&defaults.connect),
            verify: file.verify.map_or(defaults.verify, file::VerifyWord::value),
            timeout: file.timeout.as_ref().map_or(defaults.timeout, |time| time.0),
            seed: file.seed,
            max_errors: file.max_errors.as_ref().map_or(defaults.max_errors, |share| share.0),
            ..defaults
        };
        plan.offer = self.offer(&plan.targets)?;
        // A ramp takes the duration; a run that ends by a number of messages can have both.
        let duration = match length {
            RunLength::Time(time) => time,
            RunLength::Messages(_) => file.duration.as_ref().map_or(DURATION, |time| time.0),
        };
        let populations = file.populations.iter().map(|table| self.population(table, plan.warmup(), duration));
        plan.populations = populations.collect::<Result<_, _>>()?;
        match plan.check() {
            Ok(()) => Ok(plan),
            Err(error) => Err(self.of_plan(&plan, &error)),
        }
    }

    /// The length of the run: that of the longest stages if the scenario has no other.
    fn length(&self) -> Result<RunLength, ScenarioError> {
        if let Some(length) = self.length {
            return Ok(length);
        }
        match (&self.file.duration, &self.file.messages) {
            (Some(_), Some(messages)) => {
                Err(self.at(&messages.span(), "the scenario has a duration as well: remove one of them"))
            }
            (Some(duration), None) => Ok(RunLength::Time(duration.0)),
            (None, Some(messages)) => Ok(RunLength::Messages(messages.get_ref().0)),
            (None, None) => {
                let stages = self.file.populations.iter().filter_map(|table| table.get_ref().stages.as_ref());
                let lengths = stages.map(|stages| {
                    stages.get_ref().iter().fold(Duration::ZERO, |sum, stage| sum.saturating_add(stage.0.within))
                });
                Ok(RunLength::Time(lengths.max().unwrap_or(DURATION)))
            }
        }
    }

    fn targets(&self) -> Result<Vec<Target>, ScenarioError> {
        if !self.targets.is_empty() {
            return Ok(self.targets.clone());
        }
        if self.file.targets.is_empty() {
            return Err(self.of_file("the scenario has no server: give [[targets]], or a URL on the command line"));
        }
        let targets = self.file.targets.iter().map(|table| {
            let target = Target {
                weight: table.weight.as_ref().map_or(1, |weight| weight.0),
                addresses: table.addresses.iter().map(|address| address.0).collect(),
                ..Target::new(&table.url.get_ref().0)
            };
            target.check().map_err(|error| self.at(&table.url.span(), error))?;
            Ok(target)
        });
        targets.collect()
    }

    fn connect(&self, defaults: &ConnectPlan) -> ConnectPlan {
        let table = &self.file.connect;
        ConnectPlan {
            rate: table.rate.as_ref().map(|rate| rate.0.into()),
            concurrency: table.concurrency.as_ref().map(|handshakes| handshakes.0),
            timeout: table.timeout.as_ref().map_or(defaults.timeout, |time| time.0),
            sources: table.sources.iter().flat_map(|sources| sources.0.iter().copied()).collect(),
        }
    }

    /// The error of a plan, with the line of the population that it is about.
    fn of_plan(&self, plan: &Plan, error: &PlanError) -> ScenarioError {
        let table = match error {
            PlanError::Population { name, .. } | PlanError::SameName(name) | PlanError::Name(name) => {
                plan.populations.iter().rposition(|population| population.name == *name)
            }
            _ => None,
        };
        match table.and_then(|index| self.file.populations.get(index)) {
            Some(table) => self.at(&table.span(), error),
            None => self.of_file(error),
        }
    }

    /// An error at a position.
    fn at(&self, span: &Range<usize>, message: impl fmt::Display) -> ScenarioError {
        ScenarioError::at(&self.path, &self.text, span, message)
    }

    /// An error without a position.
    fn of_file(&self, message: impl fmt::Display) -> ScenarioError {
        ScenarioError::of_file(&self.path, message)
    }

    /// A path in the scenario.
    fn resolve(&self, path: &Path) -> PathBuf {
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder.join(path),
            // A name cannot begin with the `@` of an argument.
            _ => Path::new(".").join(path),
        }
    }
}

/// The default of the duration, as that of [`Plan::new`].
const DURATION: Duration = Duration::from_secs(10);
