//! The forms in which values are written in flags and in scenarios.
//!
//! Each function returns the value, or what to write instead:
//! `give a whole number, as 500, 10k or 1m`.

mod address;
mod header;
mod number;
mod traffic;

pub use address::{addresses_of, resolve, sources, target, url};
pub use header::{authorization_basic, authorization_bearer, cookies, header, header_of, origin, subprotocol};
pub(crate) use number::product;
pub use number::{count, size, time};
pub use traffic::{RateRange, Stage, rate, schedule_of, share_of_errors, stage};
