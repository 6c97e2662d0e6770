//! `ringway man`.

use crate::arguments::{Arguments, ManArguments};
use crate::exit::{ExitOutcome, Failure};
use crate::output::ResultOutput;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::fs;

/// Prints the main page, or writes one page for each command to a directory.
pub(crate) fn run(arguments: &ManArguments) -> Result<ExitOutcome, Failure> {
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    let Some(directory) = &arguments.directory else {
        ResultOutput::open(None)?.write(&page(&program)?)?;
        return Ok(ExitOutcome::Good);
    };
    // The hidden commands have no pages, as they have no line in `--help`.
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    for command in [&program].into_iter().chain(commands) {
        let path = directory.join(Man::new(command.clone()).get_filename());
        fs::write(&path, page(command)?).map_err(|error| {
            Failure(format!(
                "cannot write {}: {error}; give --directory an existing directory that you may write to",
                path.display()
            ))
        })?;
    }
    Ok(ExitOutcome::Good)
}

fn page(command: &Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    Man::new(command.clone()).manual("Ringway").render(&mut text)?;
    Ok(String::from_utf8(text)?)
}
