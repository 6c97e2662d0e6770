//! The certificates of a running server, as operators and monitoring see them.

use super::certificate::{CertificateInfo, date};
use std::fmt;
use std::time::{Duration, SystemTime};

/// A certificate that a server presents: its names and its expiry. Displayed as
/// `a.example, b.example; expires in 89 days, on 2027-02-18 18:45:41 UTC`.
///
/// ```no_run
/// use ringway::{Connection, Handler, Message, Request, Running, Upgrade};
///
/// /// The metric of the certificate that expires first, in seconds.
/// fn expiry_seconds<H: Handler>(running: &Running<H>) -> Option<u64> {
///     running.certificates().iter().map(|certificate| certificate.time_left().as_secs()).min()
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServedCertificate {
    /// The subject, such as `CN=a.example`.
    pub subject: String,
    /// The DNS names and IP addresses, in lower case. A wildcard has the form `*.example.com`.
    pub names: Vec<String>,
    /// The end of its validity.
    pub not_after: SystemTime,
}

impl ServedCertificate {
    /// The parts of a certificate in DER; `None` if it cannot be parsed.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        CertificateInfo::parse(der).ok().map(|info| Self::of(&info))
    }

    pub(super) fn of(info: &CertificateInfo) -> Self {
        Self { subject: info.subject(), names: info.names.clone(), not_after: info.not_after }
    }

    /// The rest of its validity; zero if it has expired.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.not_after.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)
    }

    /// The full days of its validity that are left; zero on the last day, and if it has expired.
    #[must_use]
    pub fn days_left(&self) -> u64 {
        self.time_left().as_secs() / (24 * 60 * 60)
    }
}

impl fmt::Display for ServedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.as_slice() {
            [] => f.write_str(&self.subject)?,
            names => f.write_str(&names.join(", "))?,
        }
        let until = date(self.not_after);
        match self.time_left() {
            Duration::ZERO => write!(f, "; expired on {until}"),
            _ => write!(f, "; expires in {} days, on {until}", self.days_left()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_certificate_displays_its_names_and_its_expiry() {
        let mut certificate = ServedCertificate {
            subject: "CN=a.example".into(),
            names: vec!["a.example".into(), "*.b.example".into()],
            not_after: UNIX_EPOCH + DAY,
        };
        assert_eq!(certificate.to_string(), "a.example, *.b.example; expired on 1970-01-02 00:00:00 UTC");
        assert_eq!((certificate.time_left(), certificate.days_left()), (Duration::ZERO, 0));
        certificate.names.clear();
        certificate.not_after = SystemTime::now() + 30 * DAY + DAY / 2;
        assert_eq!(certificate.days_left(), 30);
        let text = certificate.to_string();
        assert!(text.starts_with("CN=a.example; expires in 30 days, on 2"), "{text}");
    }
}
