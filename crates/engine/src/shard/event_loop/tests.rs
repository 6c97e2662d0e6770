//! Tests of the engine on the simulated kernel. Each run is determined by a seed, which a failure
//! prints.

mod admission;
mod balancing;
mod client;
mod compression;
mod datagrams;
mod draining;
mod ending;
mod flow;
mod http;
mod metering;
mod opening;
mod outgoing;
mod overload;
mod panics;
mod parts;
mod posting;
mod proxied;
mod reaching;
mod refusing;
mod secure;
mod seeds;
mod tapping;
mod timers;
mod topics;
mod world;
