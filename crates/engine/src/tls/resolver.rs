//! The choice of a certificate by the name that the client asks for (SNI, RFC 6066 section 3).

use super::identity::Identity;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// The certificates of a server by their names.
///
/// An exact name takes precedence over a wildcard; `*.example.com` is for one label (RFC 6125
/// section 6.4.3). Without a match, or without a name, the first certificate is used: clients that
/// connect to an address send no name. Among certificates of one name, the first whose kind of key
/// the client supports is used, so an RSA certificate can accompany an ECDSA certificate.
#[derive(Debug)]
pub(super) struct Resolver {
    default: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By the part after `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Resolver {
    pub(super) fn new(identities: &[Identity]) -> Self {
        let mut resolver = Self {
            default: identities.iter().map(|identity| Arc::clone(&identity.key)).collect(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        };
        for identity in identities {
            for name in &identity.leaf.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut resolver.wildcard, parent),
                    None => (&mut resolver.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(Arc::clone(&identity.key));
            }
        }
        resolver
    }

    /// The candidates for a name in lower case.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.default };
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has converted the name to lower case.
        let candidates = self.candidates(hello.server_name());
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // Without a usable key, the handshake fails with the error of the first.
        candidates.iter().find(usable).or_else(|| candidates.first()).cloned()
    }
}
