//! The examples of the library, run as programs, against a client, or server, that shares no code
//! with them.

mod authentication;
mod bridge;
mod chat;
mod client;
mod console;
mod echo;
mod market;
mod polling;
mod process;
mod proxied;
mod publishers;
mod restart;
