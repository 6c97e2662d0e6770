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

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use std::sync::Arc;

/// The size in bytes of the header of a record (RFC 8446 section 5.1).
const RECORD_HEADER: usize = 5;

/// The default of the maximum number of plaintext bytes in a sent record. With up to 29 bytes that
/// encryption adds, a record fits into 16 KiB: rustls allocates memory for each, and blocks above
/// 16 KiB come from a larger range of addresses, which the cache does not hold. docs/results/tls.md
/// has the difference.
const DEFAULT_RECORD_SIZE: usize = 16 * 1024 - 64;

/// The provider of cryptography of all connections.
///
/// AES-128-GCM precedes AES-256-GCM, as in browsers: it takes less time, and both are beyond any
/// attack. A server uses what the client prefers.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: CIPHER_SUITES.to_vec(), ..aws_lc_rs::default_provider() })
}

/// The cipher suites in the order in which a client prefers them.
const CIPHER_SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

#[cfg(test)]
mod suites {
    #[test]
    fn the_cipher_suites_are_those_of_the_provider() {
        let mut known = super::aws_lc_rs::default_provider().cipher_suites;
        known.retain(|suite| !super::CIPHER_SUITES.contains(suite));
        assert!(known.is_empty(), "{known:?}");
    }
}
