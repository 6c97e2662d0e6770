//! The program `ringway`.

#![forbid(unsafe_code)]

mod arguments;
mod exit;
mod limits;
mod serve;

use arguments::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;
use tracing_subscriber::filter::LevelFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
    let result = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
    };
    exit::report(result)
}
