//! The engine on the simulated kernel. Each run follows from a seed, and a failure names it.

mod client;
mod compression;
mod ending;
mod flow;
mod opening;
mod overload;
mod panics;
mod posting;
mod reaching;
mod seeds;
mod timers;
mod world;
