//! `ringway completions`.

use crate::arguments::{Arguments, CompletionsArguments};
use crate::exit::{ExitOutcome, Failure};
use crate::output::ResultOutput;
use clap::{Command, CommandFactory};

/// Prints the script.
pub(crate) fn run(arguments: &CompletionsArguments) -> Result<ExitOutcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut without_hidden(&Arguments::command()), "ringway", &mut script);
    ResultOutput::open(None)?.write(&String::from_utf8(script)?)?;
    Ok(ExitOutcome::Good)
}

/// The program without its hidden commands, which clap_complete would list.
fn without_hidden(program: &Command) -> Command {
    let shown = program.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("ringway")
        .version(env!("CARGO_PKG_VERSION"))
        .args(program.get_arguments().cloned())
        .subcommands(shown.cloned())
}
