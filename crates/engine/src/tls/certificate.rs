//! The contents of a certificate that operators read: names, issuer and validity (RFC 5280). Paths
//! are verified by webpki, not here.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::{DateTime, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// A parsed certificate.
#[derive(Clone, Debug)]
pub(super) struct CertificateInfo {
    subject: Name,
    issuer: Name,
    /// The DNS names in lower case and the IP addresses, in the order of the certificate (RFC 5280
    /// section 4.2.1.6).
    pub(super) names: Vec<String>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl CertificateInfo {
    /// Parses a certificate. Serial numbers and encodings of time that RFC 5280 forbids are
    /// accepted, as webpki accepts them.
    ///
    /// # Errors
    /// Text for an operator, if the certificate or its names could not be parsed.
    pub(super) fn parse(der: &[u8]) -> Result<Self, String> {
        let certificate = CertificateInner::<Raw>::from_der(der).map_err(|error| error.to_string())?;
        let body = certificate.tbs_certificate();
        let names = match body.get_extension::<SubjectAltName>() {
            Ok(Some((_, SubjectAltName(names)))) => names.iter().filter_map(name_text).collect(),
            Ok(None) => Vec::new(),
            Err(error) => return Err(format!("its names: {error}")),
        };
        Ok(Self {
            subject: body.subject().clone(),
            issuer: body.issuer().clone(),
            names,
            not_before: body.validity().not_before.to_system_time(),
            not_after: body.validity().not_after.to_system_time(),
        })
    }

    /// The subject, as `CN=example.com,O=Example`; without one, the first name.
    pub(super) fn subject(&self) -> String {
        match (self.subject.is_empty(), self.names.first()) {
            (true, Some(name)) => name.clone(),
            (true, None) => "(without a subject)".into(),
            (false, _) => self.subject.to_string(),
        }
    }

    /// The issuer, as `CN=Example CA`.
    pub(super) fn issuer(&self) -> String {
        self.issuer.to_string()
    }

    /// Whether the subject of the other certificate is the issuer of this one.
    pub(super) fn is_issued_by(&self, other: &Self) -> bool {
        self.issuer == other.subject
    }

    /// Whether this certificate names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }
}

/// A name as text, or `None` for kinds of names that servers do not have.
fn name_text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// A date, as `2026-11-21 18:45:41 UTC`.
pub(super) fn date(time: SystemTime) -> String {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    match DateTime::from_unix_duration(since_epoch) {
        Ok(date) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            date.year(),
            date.month(),
            date.day(),
            date.hour(),
            date.minutes(),
            date.seconds()
        ),
        // The type ends with the year 9999.
        Err(_) => format!("{} s after 1970", since_epoch.as_secs()),
    }
}
