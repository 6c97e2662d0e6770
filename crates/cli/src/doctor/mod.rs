//! `ringway doctor`: what this machine allows, which limit is the first, and how to raise it.
//!
//! The facts are read below a root that tests replace (`system.rs`), the checks are functions of
//! facts and goal, and the reports print what they have found. Nothing on the system is changed.

pub(crate) mod arguments;
mod cgroup;
mod cpu;
mod descriptors;
mod facts;
mod finding;
mod goal;
mod kernel;
mod memory;
mod native;
mod nic;
mod ports;
mod process;
mod report;
mod ring;
mod summary;
mod system;
mod tcp;
#[cfg(test)]
mod tests;

use crate::choices::Format;
use crate::exit::{ExitOutcome, Failure};
use crate::output::ResultOutput;
use arguments::DoctorArguments;
use facts::Facts;
use native::Native;
use report::fix::Fixes;
use report::text::Style;
use std::io::IsTerminal;
use summary::Summary;
use system::System;

pub(crate) fn run(arguments: &DoctorArguments) -> Result<ExitOutcome, Failure> {
    let facts = Facts::read(&System::this(), &Native::find_out());
    let goal = facts.goal(arguments);
    let groups = facts.check(&goal);
    let text = match (arguments.fix, arguments.format) {
        (Some(which), _) => Fixes::of(&groups).print(which, &goal),
        (None, Format::Json) => report::json::print(&groups, &goal)?,
        (None, Format::Text) => report::text::print(&groups, &goal, &style(arguments.verbose)),
    };
    ResultOutput::open(None)?.write(&text)?;
    // The files of `--fix` are the answer to what is short.
    let is_short = arguments.fix.is_none() && Summary::of(&groups).is_short();
    Ok(if is_short { ExitOutcome::Failed } else { ExitOutcome::Good })
}

/// The style for standard output.
fn style(is_verbose: bool) -> Style {
    let stdout = std::io::stdout();
    let columns = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let has_colours = stdout.is_terminal() && !is_set("NO_COLOR") && !is_dumb;
    Style::new(columns.filter(|columns| *columns > 0), has_colours, is_verbose)
}
