//! The TLS options of a server.

use super::certificate::CertificateInfo;
use super::error::TlsError;
use super::identity::{Identity, IdentitySource, Usage, load_roots, warn_of_expiry};
use super::pem::{FileState, PemSource};
use super::resolver::Resolver;
use super::served::ServedCertificate;
use super::{DEFAULT_RECORD_SIZE, RECORD_HEADER, provider};
use crate::config::ConfigError;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConfig, WebPkiClientVerifier};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// The application protocol of WebSocket handshakes (RFC 7301 section 6).
pub(super) const HTTP_1_1: &[u8] = b"http/1.1";

/// The plaintext bytes of a record: from the minimum of RFC 6066 section 4 to the maximum of RFC
/// 8446 section 5.1.
const RECORD_SIZES: RangeInclusive<usize> = 512..=16_384;

/// Whether clients must authenticate with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// A handshake without a certificate of one of the CAs fails.
    Required,
    /// A client may have no certificate. If it has one, one of the CAs must have issued it.
    Optional,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), without renegotiation, compression or CBC.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The TLS options of a server: its certificates, and the clients that may connect.
///
/// Handshakes use TLS 1.3 or 1.2, the application protocol `http/1.1` (ALPN), and stateless session
/// tickets, whose keys change every 6 hours and are shared by all shards. A client can resume a
/// session for up to 12 hours; the server keeps nothing for it. Early data is refused, because an
/// attacker can replay it.
///
/// Cloning is cheap.
///
/// ```no_run
/// use ringway::{ClientAuth, TlsConfig, TlsVersion};
///
/// let tls = TlsConfig::from_files("example.com.pem", "example.com.key")?
///     .and_files("example.org.pem", "example.org.key")?
///     .client_ca_file("clients.pem", ClientAuth::Required)?
///     .min_version(TlsVersion::Tls13);
/// # let _ = tls;
/// # Ok::<(), ringway::TlsError>(())
/// ```
#[derive(Clone)]
pub struct TlsConfig {
    sources: Vec<IdentitySource>,
    identities: Vec<Identity>,
    clients: Option<Clients>,
    min_version: TlsVersion,
    record_size: usize,
    ticketer: Arc<dyn ProducesTickets>,
    provider: Arc<CryptoProvider>,
    rustls: Arc<ServerConfig>,
}

/// The clients that may connect.
#[derive(Clone)]
struct Clients {
    source: PemSource,
    /// The state of the file before it was read.
    file: Option<FileState>,
    auth: ClientAuth,
    roots: Arc<RootCertStore>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl TlsConfig {
    /// Reads the server's certificate chain, its own certificate first, and its private key from
    /// PEM files. A reload reads them again.
    ///
    /// # Errors
    /// A [`TlsError`] if a file cannot be read, if it has no certificate or not exactly one
    /// unencrypted key, if the key does not match the certificate, if the certificate is not valid
    /// at present, or if the chain does not verify. A certificate that expires within 14 days, and
    /// a chain of one certificate that is not self-signed, are logged as warnings.
    pub fn from_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        Self::new(files(certificate, key))
    }

    /// As [`TlsConfig::from_files`], from the contents of such files.
    ///
    /// # Errors
    /// As [`TlsConfig::from_files`].
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::new(bytes(certificate, key))
    }

    fn new(source: IdentitySource) -> Result<Self, TlsError> {
        let provider = provider();
        let ticketer = new_ticketer()?;
        let identity = source.load(&provider, Usage::Server, SystemTime::now())?;
        let identities = vec![identity];
        let rustls = build(&provider, &identities, None, TlsVersion::Tls12, DEFAULT_RECORD_SIZE, &ticketer);
        Ok(Self {
            sources: vec![source],
            identities,
            clients: None,
            min_version: TlsVersion::Tls12,
            record_size: DEFAULT_RECORD_SIZE,
            ticketer,
            provider,
            rustls,
        })
    }

    /// Adds a certificate chain and its key. Clients get the certificate that has the name that they
    /// ask for (SNI), as an exact name or as a wildcard, and otherwise that of
    /// [`TlsConfig::from_files`]. Among several certificates of one name, a client gets the first
    /// whose kind of key it supports.
    ///
    /// # Errors
    /// As [`TlsConfig::from_files`].
    pub fn and_files(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        self.and(files(certificate, key))
    }

    /// As [`TlsConfig::and_files`], from the contents of such files.
    ///
    /// # Errors
    /// As [`TlsConfig::from_files`].
    pub fn and_pem(self, certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        self.and(bytes(certificate, key))
    }

    fn and(mut self, source: IdentitySource) -> Result<Self, TlsError> {
        self.identities.push(source.load(&self.provider, Usage::Server, SystemTime::now())?);
        self.sources.push(source);
        Ok(self.rebuilt())
    }

    /// Authenticates clients by certificates that one of the CAs in this PEM file has issued
    /// (RFC 8446 section 4.3.2). Default: clients are not asked for a certificate.
    ///
    /// # Errors
    /// A [`TlsError`] if the file cannot be read, or has no certificate of a CA.
    pub fn client_ca_file(self, file: impl Into<PathBuf>, auth: ClientAuth) -> Result<Self, TlsError> {
        self.client_ca(PemSource::File(file.into()), auth)
    }

    /// As [`TlsConfig::client_ca_file`], from the contents of such a file.
    ///
    /// # Errors
    /// As [`TlsConfig::client_ca_file`].
    pub fn client_ca_pem(self, pem: &[u8], auth: ClientAuth) -> Result<Self, TlsError> {
        self.client_ca(PemSource::Bytes("the PEM text of the client CA", pem.into()), auth)
    }

    fn client_ca(mut self, source: PemSource, auth: ClientAuth) -> Result<Self, TlsError> {
        self.clients = Some(Clients::load(source, auth, &self.provider)?);
        // A resumed session is not verified again, so tickets of a clone without this CA are not
        // accepted.
        self.ticketer = new_ticketer()?;
        Ok(self.rebuilt())
    }

    /// The minimum version. Default TLS 1.2.
    #[must_use]
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self.rebuilt()
    }

    /// The maximum plaintext bytes of one sent record, 512 to 16 384. A client decrypts a record
    /// only when all of it has arrived, so smaller records can reduce the latency of large messages
    /// on slow links; each record adds 22 bytes with TLS 1.3, and a call of the cipher. Default
    /// 16 320.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn record_size(mut self, bytes: usize) -> Result<Self, TlsError> {
        if !RECORD_SIZES.contains(&bytes) {
            let range = format!("{} to {}", RECORD_SIZES.start(), RECORD_SIZES.end());
            return Err(ConfigError::new("tls.record_size", bytes.to_string(), range).into());
        }
        self.record_size = bytes;
        Ok(self.rebuilt())
    }

    /// When the first of the server's own certificates expires.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        // There is at least one.
        self.leaves().map(|leaf| leaf.not_after).min().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The DNS names and addresses of all certificates, in lower case. A wildcard has the form
    /// `*.example.com`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.leaves().flat_map(|leaf| leaf.names.iter().map(String::as_str))
    }

    /// The server's own certificates, without their issuers, in the order in which they were added.
    #[must_use]
    pub fn certificates(&self) -> Vec<ServedCertificate> {
        self.leaves().map(ServedCertificate::of).collect()
    }

    fn leaves(&self) -> impl Iterator<Item = &CertificateInfo> {
        self.identities.iter().map(|identity| &identity.leaf)
    }

    /// The configuration for the connections of all shards.
    pub(crate) fn rustls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.rustls)
    }

    /// Whether clients are asked for a certificate.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.clients.is_some()
    }

    /// Whether a reload reads files.
    pub(crate) fn has_files(&self) -> bool {
        !self.files().is_empty()
    }

    /// The files that a reload reads.
    pub(super) fn files(&self) -> Vec<&Path> {
        let identities = self.sources.iter().flat_map(|source| [&source.certificate, &source.key]);
        let all = identities.chain(self.clients.as_ref().map(|clients| &clients.source));
        all.filter_map(|source| source.file().map(PathBuf::as_path)).collect()
    }

    /// The states of the [`files`](TlsConfig::files) before they were read.
    pub(super) fn file_states(&self) -> Vec<FileState> {
        let clients = self.clients.as_ref().and_then(|clients| clients.file);
        self.identities.iter().flat_map(|identity| identity.files.iter().copied()).chain(clients).collect()
    }

    /// Reads all files again. Tickets of this configuration remain valid, unless other CAs decide
    /// about clients: a resumed session is not verified again.
    pub(super) fn reloaded(&self) -> Result<Self, TlsError> {
        let now = SystemTime::now();
        let load = |source: &IdentitySource| source.load(&self.provider, Usage::Server, now);
        let identities = self.sources.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let old = self.clients.as_ref();
        let clients = old.map(|old| Clients::load(old.source.clone(), old.auth, &self.provider)).transpose()?;
        let same = old.map(|old| &old.roots.roots) == clients.as_ref().map(|new| &new.roots.roots);
        let ticketer = match same {
            true => Arc::clone(&self.ticketer),
            false => new_ticketer()?,
        };
        Ok(Self { identities, clients, ticketer, ..self.clone() }.rebuilt())
    }

    /// Logs a warning for each certificate that expires soon.
    pub(super) fn warn_of_expiry(&self, now: SystemTime) {
        for (source, identity) in self.sources.iter().zip(&self.identities) {
            warn_of_expiry(&source.certificate.to_string(), &identity.leaf, now);
        }
    }

    fn rebuilt(mut self) -> Self {
        self.rustls = build(
            &self.provider,
            &self.identities,
            self.clients.as_ref(),
            self.min_version,
            self.record_size,
            &self.ticketer,
        );
        self
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("sources", &self.sources)
            .field("names", &self.names().collect::<Vec<_>>())
            .field("client_auth", &self.clients.as_ref().map(|clients| clients.auth))
            .field("min_version", &self.min_version)
            .field("record_size", &self.record_size)
            .finish_non_exhaustive()
    }
}

impl Clients {
    fn load(source: PemSource, auth: ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let file = source.state();
        let roots = Arc::new(load_roots(std::slice::from_ref(&source))?);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let builder = match auth {
            ClientAuth::Required => builder,
            ClientAuth::Optional => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map_err(|error| TlsError::BadCertificate {
            input: source.to_string(),
            number: 1,
            reason: error.to_string(),
        })?;
        Ok(Self { source, file, auth, roots, verifier })
    }
}

fn build(
    provider: &Arc<CryptoProvider>,
    identities: &[Identity],
    clients: Option<&Clients>,
    min_version: TlsVersion,
    record_size: usize,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Arc<ServerConfig> {
    let versions: &[_] = match min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .expect("aws-lc-rs has cipher suites of both versions");
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(identities)));
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config.ticketer = Arc::clone(ticketer);
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // The limit of rustls includes the header.
    config.max_fragment_size = Some(record_size + RECORD_HEADER);
    config.max_early_data_size = 0;
    Arc::new(config)
}

/// Keys for the tickets of sessions.
fn new_ticketer() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    Ticketer::new().map_err(|error| TlsError::Tickets { reason: error.to_string() })
}

pub(super) fn files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> IdentitySource {
    IdentitySource { certificate: PemSource::File(certificate.into()), key: PemSource::File(key.into()) }
}

pub(super) fn bytes(certificate: &[u8], key: &[u8]) -> IdentitySource {
    IdentitySource {
        certificate: PemSource::Bytes("the PEM text of the certificate", certificate.into()),
        key: PemSource::Bytes("the PEM text of the key", key.into()),
    }
}
