//! Errors of certificates, keys and names in a TLS configuration. Errors of a running handshake are
//! in `explain.rs`.

use crate::config::ConfigError;
use std::io;
use std::path::PathBuf;

/// Why a TLS configuration could not be made. The text names the file, the reason and the remedy.
///
/// ```
/// use ringway::{TlsConfig, TlsError};
///
/// let error = TlsConfig::from_files("/nowhere/chain.pem", "/nowhere/key.pem").unwrap_err();
/// assert!(matches!(error, TlsError::Read { .. }));
/// assert_eq!(
///     error.to_string(),
///     "cannot read /nowhere/chain.pem: No such file or directory (os error 2); give a PEM file that this user can read"
/// );
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {}: {error}; give a PEM file that this user can read", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The content is not valid PEM (RFC 7468).
    #[error("{input} is not valid PEM: {reason}")]
    Pem {
        /// The file, or the name of the bytes.
        input: String,
        /// The defect.
        reason: String,
    },
    /// There is no certificate.
    #[error("{input} has no certificate{found}; give a PEM file with the section BEGIN CERTIFICATE")]
    NoCertificate {
        /// The file, or the name of the bytes.
        input: String,
        /// What it has instead: empty, or text such as `, but a private key`.
        found: &'static str,
    },
    /// There is no private key.
    #[error("{input} has no private key{found}; give a PEM file with the section BEGIN PRIVATE KEY")]
    NoKey {
        /// The file, or the name of the bytes.
        input: String,
        /// What it has instead: empty, or text such as `, but a certificate`.
        found: &'static str,
    },
    /// There is more than one private key.
    #[error("{input} has {count} private keys; keep only that of the certificate")]
    SeveralKeys {
        /// The file, or the name of the bytes.
        input: String,
        /// Their number.
        count: usize,
    },
    /// The private key is encrypted.
    #[error("the private key in {input} is encrypted; decrypt it with `openssl pkey -in {input} -out key.pem`")]
    EncryptedKey {
        /// The file, or the name of the bytes.
        input: String,
    },
    /// The key could not be used for signatures of TLS.
    #[error(
        "the private key in {input} cannot be used: {reason}; \
         give an ECDSA key (P-256, P-384, P-521), an Ed25519 key, or an RSA key of 2048 to 8192 bits"
    )]
    UnusableKey {
        /// The file, or the name of the bytes.
        input: String,
        /// The cause.
        reason: String,
    },
    /// A certificate could not be parsed (RFC 5280).
    #[error("certificate {number} in {input} cannot be parsed: {reason}; replace the file")]
    BadCertificate {
        /// The file, or the name of the bytes.
        input: String,
        /// The position of the certificate, from 1.
        number: usize,
        /// The defect.
        reason: String,
    },
    /// The key is not that of the certificate.
    #[error(
        "the private key in {key} does not match the certificate {subject} in {certificate}; \
         give the key from which the certificate was requested"
    )]
    KeyMismatch {
        /// The file with the certificate.
        certificate: String,
        /// The file with the key.
        key: String,
        /// The subject of the certificate.
        subject: String,
    },
    /// The certificate has expired.
    #[error("the certificate {subject} in {input} expired on {date}; renew it")]
    Expired {
        /// The file, or the name of the bytes.
        input: String,
        /// The subject of the certificate.
        subject: String,
        /// The end of its validity, as `2026-11-21 18:45:41 UTC`.
        date: String,
    },
    /// The certificate is not valid yet.
    #[error("the certificate {subject} in {input} is not valid before {date}; check the clock of this machine")]
    NotYetValid {
        /// The file, or the name of the bytes.
        input: String,
        /// The subject of the certificate.
        subject: String,
        /// The start of its validity, as `2026-11-21 18:45:41 UTC`.
        date: String,
    },
    /// The certificate after that of the server is not that of its issuer.
    #[error(
        "{input} lacks an intermediate certificate: {subject} is issued by {issuer}, and the next certificate is {next}; \
         put the certificate of the issuer after that of the server"
    )]
    MissingIntermediate {
        /// The file, or the name of the bytes.
        input: String,
        /// The subject of the server's certificate.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// The subject of the next certificate.
        next: String,
    },
    /// The certificates of the chain do not verify each other.
    #[error("the chain of {subject} in {input} does not verify: {reason}; replace the file with the chain from the CA")]
    BrokenChain {
        /// The file, or the name of the bytes.
        input: String,
        /// The subject of the first certificate.
        subject: String,
        /// The cause.
        reason: String,
    },
    /// A host name is neither a DNS name nor an IP address.
    #[error("{name:?} is neither a DNS name nor an IP address; give the name in the certificate of the server")]
    ServerName {
        /// The name.
        name: String,
    },
    /// TLS options for a URL without TLS.
    #[error("TLS options need a wss:// URL; this one is ws://")]
    Scheme,
    /// The roots of the system could not be used.
    #[error("cannot use the root certificates of the system: {reason}; give the CA of the server with --cacert")]
    Roots {
        /// The cause.
        reason: String,
    },
    /// The system has no random numbers for the keys of session tickets.
    #[error("cannot create keys for session tickets: {reason}")]
    Tickets {
        /// The cause.
        reason: String,
    },
    /// An option is out of range.
    #[error(transparent)]
    Option(#[from] ConfigError),
}
