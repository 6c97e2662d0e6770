//! TLS of both roles (RFC 8446, RFC 5246): from files and options to the configurations of rustls.
//!
//! The provider of cryptography, aws-lc-rs, is passed explicitly. The process-wide default of
//! rustls remains the application's.

mod certificate;
mod client;
mod error;
mod explain;
mod identity;
mod insecure;
mod kernel;
mod pem;
mod reload;
mod resolver;
mod served;
pub(crate) mod server;
mod sessions;
pub(crate) mod stream;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub use client::ClientTls;
pub use error::TlsError;
pub use served::ServedCertificate;
pub use server::{ClientAuth, TlsConfig, TlsVersion};

pub(crate) use explain::explain;
pub(crate) use kernel::KernelTls;
pub(crate) use reload::TlsReload;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::Arc;

/// The size in bytes of the header of a record (RFC 8446 section 5.1).
const RECORD_HEADER: usize = 5;

/// The default of the maximum number of plaintext bytes in a sent record. With up to 29 bytes that
/// encryption adds, a record fits into 16 KiB: rustls allocates memory for each, and blocks above 16
/// KiB come from a larger range of addresses, which the cache does not hold. docs/benchmarking.md
/// has the difference.
const DEFAULT_RECORD_SIZE: usize = 16 * 1024 - 64;

/// The provider of cryptography of all connections.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
