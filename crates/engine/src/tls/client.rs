//! The TLS options of a client.

use super::error::TlsError;
use super::identity::{IdentitySource, Usage, load_roots};
use super::insecure::AnyCertificate;
use super::pem::PemSource;
use super::server::{HTTP_1_1, TlsVersion, bytes, files};
use super::sessions::{MAX_TICKETS, Sessions};
use super::{DEFAULT_RECORD_SIZE, RECORD_HEADER, provider};
use crate::config::ConfigError;
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_platform_verifier::Verifier;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// The TLS options of a client: how it verifies servers, and what it offers.
///
/// The certificate of the server is verified, with the root certificates of the system by default.
/// Sessions are resumed by default. Cloning is cheap, and clones share the sessions.
///
/// ```
/// use ringway::ClientTls;
///
/// let tls = ClientTls::insecure().with_server_name("chat.example")?.resumption(false);
/// # let _ = tls;
/// # Ok::<(), ringway::TlsError>(())
/// ```
#[derive(Clone)]
pub struct ClientTls {
    trust: Trust,
    verifier: Arc<dyn ServerCertVerifier>,
    server_name: Option<ServerName<'static>>,
    alpn: Vec<Vec<u8>>,
    identity: Option<Arc<CertifiedKey>>,
    max_version: TlsVersion,
    /// The sessions, if they are resumed.
    sessions: Option<Resumption>,
    provider: Arc<CryptoProvider>,
    rustls: Arc<ClientConfig>,
}

/// The servers that are trusted.
#[derive(Clone, Copy, Debug)]
enum Trust {
    System,
    Mozilla,
    Given,
    All,
}

impl ClientTls {
    /// Verifies servers with the root certificates of the system, which `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` can replace. Without any, as in a minimal container, it uses Mozilla's roots as
    /// of the build. This reads and parses all of them: call it before the shards start.
    ///
    /// # Errors
    /// [`TlsError::Roots`] if the roots could not be used.
    pub fn new() -> Result<Self, TlsError> {
        let provider = provider();
        Self::with_system_roots(Verifier::new(Arc::clone(&provider)), provider)
    }

    /// Uses Mozilla's roots if those of the system could not be read.
    pub(super) fn with_system_roots(
        system: Result<Verifier, rustls::Error>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        match system {
            Ok(verifier) => Ok(Self::with(Trust::System, Arc::new(verifier), provider)),
            Err(error) => {
                tracing::info!("{error}; Mozilla's root certificates are used");
                let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
                let verifier = verifier(roots, &provider).map_err(|reason| TlsError::Roots { reason })?;
                Ok(Self::with(Trust::Mozilla, verifier, provider))
            }
        }
    }

    /// Verifies servers with the CAs in these PEM files only, without the roots of the system.
    ///
    /// # Errors
    /// A [`TlsError`] if a file cannot be read, or has no certificate of a CA.
    pub fn with_ca_files(files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Self, TlsError> {
        Self::with_ca(files.into_iter().map(|file| PemSource::File(file.into())).collect())
    }

    /// As [`ClientTls::with_ca_files`], from the contents of such a file.
    ///
    /// # Errors
    /// As [`ClientTls::with_ca_files`].
    pub fn with_ca_pem(pem: &[u8]) -> Result<Self, TlsError> {
        Self::with_ca(vec![PemSource::Bytes("the PEM text of the CA", pem.into())])
    }

    fn with_ca(sources: Vec<PemSource>) -> Result<Self, TlsError> {
        let provider = provider();
        let roots = load_roots(&sources)?;
        let verifier = verifier(roots, &provider).map_err(|reason| TlsError::Roots { reason })?;
        Ok(Self::with(Trust::Given, verifier, provider))
    }

    /// Accepts every certificate, also an expired one and one of another name: an attacker on the
    /// path can read and change the traffic. For tests. Logs a warning.
    #[must_use]
    pub fn insecure() -> Self {
        tracing::warn!("certificates of servers are not verified: an attacker on the path can read the traffic");
        let provider = provider();
        Self::with(Trust::All, Arc::new(AnyCertificate::new(Arc::clone(&provider))), provider)
    }

    fn with(trust: Trust, verifier: Arc<dyn ServerCertVerifier>, provider: Arc<CryptoProvider>) -> Self {
        let alpn = vec![HTTP_1_1.to_vec()];
        let sessions = Some(Resumption::store(Arc::new(Sessions::new(MAX_TICKETS))));
        let max_version = TlsVersion::Tls13;
        let rustls = build(&provider, &verifier, &alpn, None, max_version, sessions.as_ref());
        Self { trust, verifier, server_name: None, alpn, identity: None, max_version, sessions, provider, rustls }
    }

    /// The name that is sent to servers (SNI) and that their certificates must have, instead of the
    /// host of the URL.
    ///
    /// # Errors
    /// [`TlsError::ServerName`] if it is neither a DNS name nor an IP address.
    pub fn with_server_name(mut self, name: &str) -> Result<Self, TlsError> {
        self.server_name = Some(parse_name(name)?);
        Ok(self)
    }

    /// The offered application protocols (ALPN, RFC 7301), the preferred one first. An empty list
    /// omits the extension. Default: `http/1.1`.
    ///
    /// # Errors
    /// A [`ConfigError`] for a name that is empty or longer than 255 bytes.
    pub fn alpn(mut self, protocols: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, TlsError> {
        let protocols: Vec<String> = protocols.into_iter().map(Into::into).collect();
        if let Some(bad) = protocols.iter().find(|name| !(1..=255).contains(&name.len())) {
            return Err(ConfigError::new("tls.alpn", format!("{bad:?}"), "names of 1 to 255 bytes").into());
        }
        self.alpn = protocols.into_iter().map(String::into_bytes).collect();
        Ok(self.rebuilt())
    }

    /// The certificate chain and the key with which the client authenticates, if a server asks for
    /// it, from PEM files. Default: none.
    ///
    /// # Errors
    /// As [`TlsConfig::from_files`](crate::TlsConfig::from_files); the chain is not verified.
    pub fn identity_files(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        self.identity(&files(certificate, key))
    }

    /// As [`ClientTls::identity_files`], from the contents of such files.
    ///
    /// # Errors
    /// As [`ClientTls::identity_files`].
    pub fn identity_pem(self, certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        self.identity(&bytes(certificate, key))
    }

    fn identity(mut self, source: &IdentitySource) -> Result<Self, TlsError> {
        self.identity = Some(source.load(&self.provider, Usage::Client, SystemTime::now())?.key);
        // Sessions of another identity are not resumed: rustls compares it.
        Ok(self.rebuilt())
    }

    /// The maximum version, for tests of servers. Default TLS 1.3. The minimum version is TLS 1.2.
    #[must_use]
    pub fn max_version(mut self, version: TlsVersion) -> Self {
        self.max_version = version;
        self.rebuilt()
    }

    /// Whether connections resume earlier sessions, which saves the verification of certificates.
    /// The last 1024 sessions are kept in memory, each for one connection. Default: yes.
    #[must_use]
    pub fn resumption(mut self, resumption: bool) -> Self {
        self.sessions = resumption.then(|| Resumption::store(Arc::new(Sessions::new(MAX_TICKETS))));
        self.rebuilt()
    }

    /// The configuration for the connections of all shards.
    pub(crate) fn rustls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.rustls)
    }

    /// The name to verify: that of [`ClientTls::with_server_name`], otherwise `host`, the host of a URL.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => parse_name(host),
        }
    }

    fn rebuilt(mut self) -> Self {
        self.rustls = build(
            &self.provider,
            &self.verifier,
            &self.alpn,
            self.identity.as_ref(),
            self.max_version,
            self.sessions.as_ref(),
        );
        self
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("trust", &self.trust)
            .field("server_name", &self.server_name)
            .field("alpn", &self.alpn.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>())
            .field("identity", &self.identity.is_some())
            .field("max_version", &self.max_version)
            .field("resumption", &self.sessions.is_some())
            .finish_non_exhaustive()
    }
}

/// Parses a DNS name, without the dot of an absolute name (RFC 6066 section 3), or an IP address,
/// also an IPv6 address in brackets.
fn parse_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::ServerName { name: name.to_owned() })
}

fn verifier(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    match builder.build() {
        Ok(verifier) => Ok(verifier),
        Err(error) => Err(error.to_string()),
    }
}

fn build(
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<dyn ServerCertVerifier>,
    alpn: &[Vec<u8>],
    identity: Option<&Arc<CertifiedKey>>,
    max_version: TlsVersion,
    sessions: Option<&Resumption>,
) -> Arc<ClientConfig> {
    let versions: &[_] = match max_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .expect("aws-lc-rs has cipher suites of both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier));
    let mut config = match identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(identity))))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.to_vec();
    // The limit of rustls includes the header.
    config.max_fragment_size = Some(DEFAULT_RECORD_SIZE + RECORD_HEADER);
    config.resumption = sessions.map_or_else(Resumption::disabled, Resumption::clone);
    Arc::new(config)
}
