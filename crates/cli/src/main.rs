//! The program `ringway`.

#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod choices;
mod completions;
mod connect;
mod doctor;
mod exit;
mod floor;
mod inherited;
mod limits;
mod listening;
mod live;
mod load;
mod man;
mod notify;
mod offer;
mod output;
mod serve;
mod signals;
mod stdin;
mod tls;
mod trace;
mod unix;
mod values;

use arguments::{Arguments, CliCommand, command};
use clap::FromArgMatches;
use std::process::ExitCode;
use tracing_subscriber::filter::LevelFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let is_short = std::env::args_os().any(|argument| argument == "-h");
    let matches = command(is_short).get_matches();
    // The program of the matches is that of the structures, so that the conversion does not fail.
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
    let result = match arguments.command {
        CliCommand::Serve(arguments) => serve::run(&arguments),
        CliCommand::Load(arguments) => load::run(&arguments),
        CliCommand::Connect(arguments) => connect::run(&arguments),
        CliCommand::Bench(arguments) => bench::run(&arguments),
        CliCommand::Doctor(arguments) => doctor::run(&arguments),
        CliCommand::Completions(arguments) => completions::run(&arguments),
        CliCommand::Man(arguments) => man::run(&arguments),
        CliCommand::Floor(arguments) => floor::run(&arguments),
    };
    exit::report(result)
}
