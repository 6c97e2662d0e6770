//! Runs a command under seccomp filters, as a container runtime does: applies them, and becomes the
//! command. The first argument is a JSON array of filters in the form that seccompiler reads, in the
//! order in which they are applied; the others are the command.

#![forbid(unsafe_code)]

use seccompiler::{TargetArch, apply_filter, compile_from_json};
use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(filters), Some(program)) = (arguments.next(), arguments.next()) else {
        return Err("usage: under-seccomp FILTERS COMMAND [ARGUMENT]...".into());
    };
    let filters: Vec<serde_json::Value> = serde_json::from_str(&filters)?;
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    // All are compiled first: what they deny may be needed for it.
    let compile = |filter: &serde_json::Value| compile_from_json(filter.to_string().as_bytes(), arch);
    let filters = filters.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
    let mut command = Command::new(program);
    command.args(arguments);
    for program in filters.iter().flat_map(|filter| filter.values()) {
        apply_filter(program)?;
    }
    Err(command.exec().into())
}
