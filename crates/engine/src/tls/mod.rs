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

/// The provider of cryptography of all connections.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
