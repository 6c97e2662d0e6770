//! Certificates and keys in PEM (RFC 7468).

use super::error::TlsError;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CERTIFICATE_IS_DER: &str = " (it is DER: `openssl x509 -inform der` converts it)";
const KEY_IS_DER: &str = " (it is DER: `openssl pkey -inform der` converts it)";

/// The origin of PEM text. A file is read again when the configuration is reloaded.
#[derive(Clone)]
pub(super) enum PemSource {
    File(PathBuf),
    /// Bytes, with the name that errors use.
    Bytes(&'static str, Arc<[u8]>),
}

/// The state of a file that changes when it is replaced or written: device, inode, size, and the
/// time of the last change of its content or its inode. `None` if it cannot be read.
pub(super) type FileState = Option<(u64, u64, u64, i64, i64)>;

/// The present state of a file.
pub(super) fn file_state(file: &Path) -> FileState {
    let found = fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

impl PemSource {
    /// The present state of the file, if it is one.
    pub(super) fn state(&self) -> Option<FileState> {
        self.file().map(|file| file_state(file))
    }

    /// Reads the text.
    pub(super) fn read(&self) -> Result<Pem, TlsError> {
        let text = match self {
            Self::File(file) => fs::read(file).map_err(|error| TlsError::Read { file: file.clone(), error })?.into(),
            Self::Bytes(_, bytes) => Arc::clone(bytes),
        };
        Ok(Pem { input: self.to_string(), text })
    }

    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(file) => Some(file),
            Self::Bytes(..) => None,
        }
    }
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Bytes(name, _) => f.write_str(name),
        }
    }
}

impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes may be a key.
        write!(f, "{self}")
    }
}

/// PEM text that was read, and the name of its origin.
pub(super) struct Pem {
    pub(super) input: String,
    text: Arc<[u8]>,
}

impl Pem {
    /// All certificates, in order; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let mut certificates = Vec::new();
        let mut key = false;
        for section in self.sections() {
            let (kind, der) = section?;
            match kind {
                SectionKind::Certificate => certificates.push(CertificateDer::from(der)),
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => key = true,
                _ => {}
            }
        }
        if certificates.is_empty() {
            let found = if key { ", but a private key" } else { self.found_instead(CERTIFICATE_IS_DER) };
            return Err(TlsError::NoCertificate { input: self.input.clone(), found });
        }
        Ok(certificates)
    }

    /// The only private key.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        // RFC 5958, and the format of OpenSSL before it (RFC 1421 section 4.6.1.1).
        if self.has_line(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || self.has_line(b"Proc-Type: 4,ENCRYPTED") {
            return Err(TlsError::EncryptedKey { input: self.input.clone() });
        }
        let mut keys = Vec::new();
        let mut certificate = false;
        for section in self.sections() {
            let (kind, der) = section?;
            certificate |= kind == SectionKind::Certificate;
            keys.extend(PrivateKeyDer::from_pem(kind, der));
        }
        match (keys.pop(), keys.len()) {
            (Some(key), 0) => Ok(key),
            (Some(_), others) => Err(TlsError::SeveralKeys { input: self.input.clone(), count: others + 1 }),
            (None, _) => {
                let found = if certificate { ", but a certificate" } else { self.found_instead(KEY_IS_DER) };
                Err(TlsError::NoKey { input: self.input.clone(), found })
            }
        }
    }

    /// The sections of known kinds.
    fn sections(&self) -> impl Iterator<Item = Result<(SectionKind, Vec<u8>), TlsError>> {
        <(SectionKind, Vec<u8>)>::pem_slice_iter(&self.text)
            .map(|section| section.map_err(|error| TlsError::Pem { input: self.input.clone(), reason: reason(&error) }))
    }

    fn has_line(&self, line: &[u8]) -> bool {
        self.text.split(|byte| *byte == b'\n').any(|found| found.trim_ascii() == line)
    }

    /// What there is if no section has a known kind.
    fn found_instead(&self, is_der: &'static str) -> &'static str {
        // A DER certificate or key is a SEQUENCE with a length of two bytes (X.690 section 8.1.3.5).
        if self.text.starts_with(&[0x30, 0x82]) {
            is_der
        } else if self.text.trim_ascii().is_empty() {
            " (it is empty)"
        } else {
            ""
        }
    }
}

/// The defect of PEM text. The error of the parser displays lines as arrays of numbers.
fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("the line -----END {}----- is missing", String::from_utf8_lossy(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("the line {:?} is incomplete", String::from_utf8_lossy(line).trim())
        }
        pem::Error::Base64Decode(_) => "a section is not base64".into(),
        error => error.to_string(),
    }
}
