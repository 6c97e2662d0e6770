//! A certificate chain with its private key, checked before it is used.

use super::certificate::{CertificateInfo, date};
use super::error::TlsError;
use super::pem::{FileState, Pem, PemSource};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The rest of a certificate's validity below which a warning is logged.
pub(super) const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The origin of a chain and of its key.
#[derive(Clone, Debug)]
pub(super) struct IdentitySource {
    pub(super) certificate: PemSource,
    pub(super) key: PemSource,
}

/// A chain and its key.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// The first certificate of the chain.
    pub(super) leaf: CertificateInfo,
    /// The states of its files before they were read.
    pub(super) files: Vec<FileState>,
}

/// The side that presents a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Server,
    Client,
}

impl IdentitySource {
    /// Reads and checks both: the key matches, the certificate is valid at `now`, and each
    /// certificate of a server's chain is issued by a later one. Logs a warning if the certificate
    /// expires within [`EXPIRES_SOON`].
    pub(super) fn load(&self, provider: &CryptoProvider, usage: Usage, now: SystemTime) -> Result<Identity, TlsError> {
        let files = [&self.certificate, &self.key].into_iter().filter_map(PemSource::state).collect();
        let pem = self.certificate.read()?;
        let chain = pem.certificates()?;
        let infos = parse_all(&pem, &chain)?;
        let key_pem = self.key.read()?;
        let key = key_pem.key()?;
        let leaf = &infos[0];
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsError::UnusableKey { input: key_pem.input.clone(), reason: text(&error) })?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // A key that cannot derive its public key is not of a kind that `provider` loads.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(TlsError::KeyMismatch {
                    certificate: pem.input,
                    key: key_pem.input,
                    subject: leaf.subject(),
                });
            }
            Err(error) => return Err(TlsError::BadCertificate { input: pem.input, number: 1, reason: text(&error) }),
        }
        check_validity(&pem.input, leaf, now)?;
        if usage == Usage::Server {
            check_chain(&pem.input, &key.cert, &infos, provider, now)?;
        }
        warn_of_expiry(&pem.input, leaf, now);
        Ok(Identity { key: Arc::new(key), leaf: leaf.clone(), files })
    }
}

/// Reads the certificates of a CA file.
pub(super) fn load_roots(sources: &[PemSource]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for source in sources {
        let pem = source.read()?;
        for (index, certificate) in pem.certificates()?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| TlsError::BadCertificate {
                input: pem.input.clone(),
                number: index + 1,
                reason: text(&error),
            })?;
        }
    }
    Ok(roots)
}

fn parse_all(pem: &Pem, chain: &[CertificateDer<'_>]) -> Result<Vec<CertificateInfo>, TlsError> {
    let parse = |(index, der): (usize, &CertificateDer<'_>)| {
        CertificateInfo::parse(der).map_err(|reason| TlsError::BadCertificate {
            input: pem.input.clone(),
            number: index + 1,
            reason,
        })
    };
    chain.iter().enumerate().map(parse).collect()
}

fn check_validity(input: &str, leaf: &CertificateInfo, now: SystemTime) -> Result<(), TlsError> {
    let (input, subject) = (input.to_owned(), leaf.subject());
    if now > leaf.not_after {
        return Err(TlsError::Expired { input, subject, date: date(leaf.not_after) });
    }
    if now < leaf.not_before {
        return Err(TlsError::NotYetValid { input, subject, date: date(leaf.not_before) });
    }
    Ok(())
}

/// Checks that the next certificate is that of the issuer (RFC 5246 section 7.4.2), and that the
/// signatures of the chain verify.
fn check_chain(
    input: &str,
    chain: &[CertificateDer<'static>],
    infos: &[CertificateInfo],
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<(), TlsError> {
    let leaf = &infos[0];
    let Some(next) = infos.get(1) else {
        if !leaf.is_self_issued() {
            tracing::warn!(
                "{input} has only the certificate {}: clients must have its issuer {} as a CA; if that is an \
                 intermediate, append its certificate to the file",
                leaf.subject(),
                leaf.issuer()
            );
        }
        return Ok(());
    };
    if !leaf.is_issued_by(next) {
        return Err(TlsError::MissingIntermediate {
            input: input.to_owned(),
            subject: leaf.subject(),
            issuer: leaf.issuer(),
            next: next.subject(),
        });
    }
    for issuer in &infos[1..] {
        // Clients that trust its issuer or another certificate of its key do not need it.
        if now > issuer.not_after {
            tracing::warn!(
                "the intermediate certificate {} in {input} expired on {}; replace the file with the present chain \
                 from the CA",
                issuer.subject(),
                date(issuer.not_after)
            );
        }
    }
    let broken =
        |error: &Error| TlsError::BrokenChain { input: input.to_owned(), subject: leaf.subject(), reason: text(error) };
    // The ends of the chain: certificates whose issuer is not in the file, or that are self-issued.
    let mut anchors = RootCertStore::empty();
    for (info, der) in infos.iter().zip(chain).skip(1) {
        let is_end = info.is_self_issued() || !infos[1..].iter().any(|other| info.is_issued_by(other));
        if is_end {
            anchors.add(der.clone()).map_err(|error| broken(&error))?;
        }
    }
    let parsed = ParsedCertificate::try_from(&chain[0]).map_err(|error| broken(&error))?;
    let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO));
    let algorithms = provider.signature_verification_algorithms.all;
    match verify_server_cert_signed_by_trust_anchor(&parsed, &anchors, &chain[1..], now, algorithms) {
        // The dates of the leaf are checked above, and an expired intermediate is a warning.
        Ok(())
        | Err(Error::InvalidCertificate(
            CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. },
        )) => Ok(()),
        Err(error) => Err(broken(&error)),
    }
}

/// Logs a warning if the certificate expires soon.
pub(super) fn warn_of_expiry(input: &str, leaf: &CertificateInfo, now: SystemTime) {
    let rest = leaf.not_after.duration_since(now).unwrap_or(Duration::ZERO);
    if rest < EXPIRES_SOON {
        let days = rest.as_secs() / (24 * 60 * 60);
        let until = date(leaf.not_after);
        tracing::warn!("the certificate {} in {input} expires in {days} days, on {until}; renew it", leaf.subject());
    }
}

/// The text of an error of rustls about a configuration.
fn text(error: &Error) -> String {
    match error {
        Error::General(reason) => reason.clone(),
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "a signature is not that of the next certificate".into()
        }
        Error::InvalidCertificate(error) => error.to_string(),
        error => error.to_string(),
    }
}
