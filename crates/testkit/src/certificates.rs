//! Certificates and keys (RFC 5280), valid and invalid ones. They are made when a test runs, so
//! none expires, and no private key is in the repository.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits. Its generation takes the longest.
    Rsa,
}

impl KeyKind {
    fn generate(self) -> KeyPair {
        let algorithm = match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::Ed25519 => &PKCS_ED25519,
            Self::Rsa => &PKCS_RSA_SHA256,
        };
        KeyPair::generate_for(algorithm).expect("aws-lc-rs generates keys of these kinds")
    }
}

/// A certificate authority: a root, or an intermediate.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The certificates between its leaves and the root, its own first. Empty for a root.
    chain: String,
}

impl Authority {
    /// A root with this common name.
    #[must_use]
    pub fn root(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(ca_params(name), KeyKind::P256.generate());
        Self { issuer: issuer.expect("a root signs itself"), chain: String::new() }
    }

    /// An intermediate that this authority has issued.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let issuer = CertifiedIssuer::signed_by(ca_params(name), KeyKind::P256.generate(), &self.issuer);
        let issuer = issuer.expect("an authority signs an intermediate");
        let chain = issuer.pem() + &self.chain;
        Self { issuer, chain }
    }

    /// The certificate of this authority, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for these DNS names and IP addresses, valid from yesterday for 90 days,
    /// with a P-256 key.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(&Leaf::new(names))
    }

    /// Issues a certificate.
    #[must_use]
    pub fn sign(&self, leaf: &Leaf) -> Identity {
        let key = leaf.key.generate();
        let certificate = leaf.params().signed_by(&key, &self.issuer).expect("an authority signs a leaf");
        Identity { certificate: certificate.pem(), intermediates: self.chain.clone(), key: key.serialize_pem() }
    }
}

/// The contents of a certificate of a server or a client.
#[derive(Clone, Debug)]
pub struct Leaf {
    names: Vec<String>,
    key: KeyKind,
    from: SystemTime,
    until: SystemTime,
    client: bool,
    ca: bool,
}

impl Leaf {
    /// A server's certificate for these names, valid from yesterday for 90 days, with a P-256 key.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        let now = SystemTime::now();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Self { names, key: KeyKind::P256, from: now - DAY, until: now + 89 * DAY, client: false, ca: false }
    }

    /// With another kind of key.
    #[must_use]
    pub fn key(mut self, key: KeyKind) -> Self {
        self.key = key;
        self
    }

    /// Valid between these times.
    #[must_use]
    pub fn valid(mut self, from: SystemTime, until: SystemTime) -> Self {
        (self.from, self.until) = (from, until);
        self
    }

    /// For the authentication of a client instead of a server.
    #[must_use]
    pub fn client(mut self) -> Self {
        self.client = true;
        self
    }

    /// Marked as a CA, as `openssl req -x509` marks self-signed certificates.
    #[must_use]
    pub fn marked_as_ca(mut self) -> Self {
        self.ca = true;
        self
    }

    /// The certificate, signed by its own key.
    #[must_use]
    pub fn self_signed(&self) -> Identity {
        let key = self.key.generate();
        let certificate = self.params().self_signed(&key).expect("a certificate signs itself");
        Identity { certificate: certificate.pem(), intermediates: String::new(), key: key.serialize_pem() }
    }

    /// The first name is also the common name of the subject.
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).expect("names in ASCII");
        params.distinguished_name = common_name(self.names.first().map_or("nameless", String::as_str));
        params.not_before = self.from.into();
        params.not_after = self.until.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.extended_key_usages = match self.client {
            true => vec![ExtendedKeyUsagePurpose::ClientAuth],
            false => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        params
    }
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate alone.
    pub certificate: String,
    /// The certificates of its issuers up to the root, without it.
    pub intermediates: String,
    /// The private key (PKCS #8).
    pub key: String,
}

impl Identity {
    /// The certificate and the intermediates.
    #[must_use]
    pub fn chain(&self) -> String {
        self.certificate.clone() + &self.intermediates
    }
}

/// A folder for the files of one test. It is removed when it is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-certificates-{}-{count}", process::id()));
        // A process of the same number may have been killed before it removed its folders.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a folder for temporary files");
        Self(path)
    }

    /// The path of a file in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and returns its path. An existing file is replaced by a rename, as programs
    /// that renew certificates do.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&new, content).expect("a writable folder");
        fs::rename(&new, &path).expect("a rename within a folder");
        path
    }

    /// Writes `NAME.pem` with the chain and `NAME.key` with the key, and returns both paths.
    pub fn write_identity(&self, name: &str, identity: &Identity) -> (PathBuf, PathBuf) {
        (self.write(&format!("{name}.pem"), identity.chain()), self.write(&format!("{name}.key"), &identity.key))
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed is left behind.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn ca_params(name: &str) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.not_before = (now - 365 * DAY).into();
    params.not_after = (now + 3650 * DAY).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
