//! The checks on made-up machines.

mod fixing;
mod hostile;
mod machine;
mod machines;
