//! Sentences for errors of a TLS handshake or connection: what happened, and what to do.

use super::certificate::date;
use ringway_codec::Role;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// Explains an error of a connection to the operator of this side. `role` is that of this side;
/// `name` is the expected name of the server, if this side is the client.
pub(crate) fn explain(error: &Error, role: Role, name: Option<&str>) -> String {
    let peer = match role {
        Role::Client => "server",
        Role::Server => "client",
    };
    match error {
        Error::InvalidCertificate(error) => of_certificate(error, role, peer, name),
        Error::PeerIncompatible(reason) => of_incompatible(reason, role, peer),
        Error::AlertReceived(alert) => of_alert(*alert, role, peer, name),
        Error::InvalidMessage(reason) => of_message(reason, role, peer),
        Error::NoCertificatesPresented => match role {
            Role::Server => "the client sent no certificate, and this server requires one (--tls-client-auth)".into(),
            Role::Client => "the server sent no certificate".into(),
        },
        Error::NoApplicationProtocol => match role {
            Role::Server => {
                "the client offers no application protocol (ALPN) in common; this server supports http/1.1".into()
            }
            Role::Client => "the server selected an application protocol (ALPN) that was not offered".into(),
        },
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
            "the server selected an application protocol (ALPN) that was not offered".into()
        }
        Error::PeerMisbehaved(
            reason @ (PeerMisbehaved::TooManyKeyUpdateRequests
            | PeerMisbehaved::TooManyEmptyFragments
            | PeerMisbehaved::TooManyRenegotiationRequests
            | PeerMisbehaved::TooManyWarningAlertsReceived),
        ) => format!("the {peer} sent a flood of messages without data ({})", words(reason, ' ')),
        Error::PeerMisbehaved(reason) => {
            format!("the {peer} violated the TLS protocol ({}); {}", words(reason, ' '), update(peer))
        }
        Error::InappropriateMessage { expect_types, got_type } => {
            let expected = expect_types.iter().map(|kind| words(kind, ' ')).collect::<Vec<_>>().join(" or ");
            let got = words(got_type, ' ');
            format!("the {peer} sent a TLS message out of order (expected {expected}, got {got}); {}", update(peer))
        }
        Error::InappropriateHandshakeMessage { expect_types, got_type } => {
            // The names of messages in RFC 8446 section 4.
            let expected = expect_types.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(" or ");
            format!(
                "the {peer} sent a TLS message out of order (expected {expected}, got {got_type:?}); {}",
                update(peer)
            )
        }
        Error::DecryptError => {
            format!("a record of the {peer} could not be decrypted: it was changed on the way, or the {peer} is faulty")
        }
        Error::PeerSentOversizedRecord => format!("the {peer} sent a record longer than TLS allows"),
        error => format!("TLS failed: {error}"),
    }
}

fn of_certificate(error: &CertificateError, role: Role, peer: &str, name: Option<&str>) -> String {
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "a certificate of the {peer} expired on {}; renew it, or check the clock of this machine ({})",
            date_of(*not_after),
            date_of(*time)
        ),
        CertificateError::Expired => format!("a certificate of the {peer} has expired; renew it"),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "a certificate of the {peer} is not valid before {}; check the clock of this machine ({})",
            date_of(*not_before),
            date_of(*time)
        ),
        CertificateError::NotValidYet => {
            format!("a certificate of the {peer} is not valid yet; check the clock of this machine")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let has = match presented.is_empty() {
                true => "it has no names".into(),
                false => format!("it has {}", presented_names(presented)),
            };
            format!(
                "the certificate of the server is not for {} ({has}); use one of its names, or give it with --servername",
                expected.to_str()
            )
        }
        CertificateError::NotValidForName => {
            let name = name.unwrap_or("this name");
            format!("the certificate of the server is not for {name}; use its name, or give it with --servername")
        }
        CertificateError::UnknownIssuer => match role {
            Role::Client => "the certificate of the server is from an unknown CA, or the server does not send its \
                             intermediate certificate; give the CA with --cacert, or skip the verification with -k"
                .into(),
            Role::Server => "the certificate of the client is not from a CA of --tls-client-ca".into(),
        },
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("the certificate of the {peer} is not for use by a {peer} (extended key usage)")
        }
        CertificateError::BadSignature => format!(
            "a signature of the {peer} does not verify: its key is not that of its certificate, or its chain is of \
             another CA with the same name"
        ),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => format!(
            "a signature of the {peer} is not of the kind of key in its certificate: its key is not that of its \
             certificate; give the {peer} the key from which the certificate was requested"
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => format!(
            "a certificate of the {peer} has an unsupported kind of signature, such as one with SHA-1; have it issued \
             with ECDSA, Ed25519, or RSA of 2048 to 8192 bits, and SHA-256 or longer"
        ),
        CertificateError::UnhandledCriticalExtension => {
            format!(
                "a certificate of the {peer} has a critical extension that is not supported; have it issued without"
            )
        }
        CertificateError::Revoked => format!("a certificate of the {peer} has been revoked"),
        CertificateError::BadEncoding => format!("a certificate of the {peer} cannot be parsed"),
        CertificateError::Other(error) => of_webpki(&error.0.to_string(), role, peer),
        error => format!("the certificate of the {peer} is not valid ({}); replace it", words(error, ' ')),
    }
}

/// Explains an error of webpki, which displays its name.
fn of_webpki(error: &str, role: Role, peer: &str) -> String {
    match error {
        // A self-signed certificate that is marked as a CA.
        "CaUsedAsEndEntity" => {
            let text = format!(
                "the certificate of the {peer} is marked as that of a CA; make one with basicConstraints=CA:FALSE"
            );
            if role == Role::Client { text + ", or skip the verification with -k" } else { text }
        }
        "EndEntityUsedAsCa" => {
            format!(
                "the issuer of a certificate of the {peer} is not marked as a CA; issue it with basicConstraints=CA:TRUE"
            )
        }
        "UnsupportedCertVersion" => format!("a certificate of the {peer} is not of version 3 of X.509; make one of it"),
        "NameConstraintViolation" => {
            format!("a CA of the {peer} may not issue a certificate for this name (name constraints); use another CA")
        }
        "PathLenConstraintViolated" => {
            format!(
                "the chain of the {peer} is longer than one of its CAs allows (path length); issue it with another CA"
            )
        }
        error => {
            format!("the certificate of the {peer} is not valid ({}); replace it", spaced(error, ' ').to_lowercase())
        }
    }
}

fn of_incompatible(reason: &PeerIncompatible, role: Role, peer: &str) -> String {
    use PeerIncompatible as P;
    match (reason, role) {
        (
            P::ServerDoesNotSupportTls12Or13
            | P::ServerTlsVersionIsDisabledByOurConfig
            | P::SupportedVersionsExtensionRequired
            | P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled,
            Role::Server,
        ) => "there is no common version of TLS: the client supports none of this server's (--tls-min)".into(),
        (
            P::ServerDoesNotSupportTls12Or13
            | P::ServerTlsVersionIsDisabledByOurConfig
            | P::SupportedVersionsExtensionRequired
            | P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled,
            Role::Client,
        ) => "there is no common version of TLS: the server supports neither 1.2 nor 1.3".into(),
        (P::NoCipherSuitesInCommon, _) => format!("there is no cipher suite in common with the {peer}"),
        (P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired, _) => {
            format!("there is no key exchange group in common with the {peer}")
        }
        // Versions before 1.2 do not have the extension, which rustls checks before the version.
        (P::SignatureAlgorithmsExtensionRequired, Role::Server) => {
            "there is no common version of TLS: the client offers no signature algorithms, as before TLS 1.2; update \
             the client"
                .into()
        }
        (P::NoSignatureSchemesInCommon | P::SignatureAlgorithmsExtensionRequired, _) => {
            format!("the {peer} does not support signatures of the kind of key that this side has")
        }
        (P::NoCertificateRequestSignatureSchemesInCommon, _) => {
            "the server accepts no client certificate with this kind of key".into()
        }
        (P::ExtendedMasterSecretExtensionRequired, _) => {
            format!("the {peer} lacks the extended master secret (RFC 7627), which TLS 1.2 requires here")
        }
        (P::ServerRejectedEncryptedClientHello(_), _) => "the server rejected an encrypted ClientHello".into(),
        (reason, _) => format!("the {peer} is not compatible ({}); {}", words(reason, ' '), update(peer)),
    }
}

/// RFC 8446 section 6.2: an alert describes what its sender rejects.
fn of_alert(alert: AlertDescription, role: Role, peer: &str, name: Option<&str>) -> String {
    use AlertDescription as A;
    let own = match role {
        Role::Client => "the client certificate (--cert)",
        Role::Server => "the certificate of this server",
    };
    let code = alert_name(alert);
    match (alert, role) {
        (A::ProtocolVersion, _) => format!("the {peer} supports no version of TLS in common (alert {code})"),
        (A::HandshakeFailure | A::InsufficientSecurity, Role::Client) => format!(
            "the server rejected the handshake: there is no common cipher suite or version, or it requires a client \
             certificate (--cert) (alert {code})"
        ),
        (A::HandshakeFailure | A::InsufficientSecurity, Role::Server) => {
            format!("the client rejected the handshake: there is no common cipher suite or version (alert {code})")
        }
        (A::CertificateRequired | A::NoCertificate, Role::Client) => {
            format!("the server requires a client certificate; give it with --cert and --key (alert {code})")
        }
        (A::UnknownCA, Role::Server) => format!(
            "the client does not trust the CA of {own}, or an intermediate certificate is missing in --tls-cert (alert \
             {code})"
        ),
        (A::UnknownCA, Role::Client) => format!("the server does not trust the CA of {own} (alert {code})"),
        (A::CertificateExpired, _) => {
            format!("to the {peer}, {own} has expired; renew it, or check the clocks of both (alert {code})")
        }
        (A::CertificateRevoked, _) => format!("to the {peer}, {own} has been revoked; renew it (alert {code})"),
        (
            A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateUnknown
            | A::AccessDenied
            | A::DecryptError
            | A::BadCertificateStatusResponse,
            _,
        ) => format!("the {peer} rejected {own} (alert {code})"),
        (A::UnrecognisedName, Role::Client) => {
            let name = name.unwrap_or("this name");
            format!("the server has no certificate for {name}; give another name with --servername (alert {code})")
        }
        (A::NoApplicationProtocol, Role::Client) => format!(
            "the server supports none of the offered application protocols; change them with --alpn (alert {code})"
        ),
        (A::CloseNotify | A::UserCanceled, _) => format!("the {peer} ended the handshake (alert {code})"),
        (A::UnexpectedMessage, Role::Client) => {
            format!("the server refused TLS: is its port plain? then use ws:// (alert {code})")
        }
        (A::InternalError, _) => format!("the {peer} failed with an internal error; see its log (alert {code})"),
        (A::Unknown(number), _) => format!("the {peer} ended the connection with the unknown alert {number}"),
        _ => format!("the {peer} ended the connection with the alert {code}"),
    }
}

fn of_message(reason: &InvalidMessage, role: Role, peer: &str) -> String {
    match (reason, role) {
        (InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion, Role::Client) => {
            "the server does not answer in TLS: is its port plain? then use ws://".into()
        }
        (InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion, Role::Server) => {
            "the client does not use TLS: this port is for wss://".into()
        }
        (InvalidMessage::MessageTooLarge, _) => format!("the {peer} sent a record longer than TLS allows, or not TLS"),
        (InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge, _) => {
            format!("the {peer} sent a handshake message that is too long ({})", words(reason, ' '))
        }
        (reason, _) => {
            let what = match reason {
                InvalidMessage::MissingData(part) => format!("{part} is incomplete"),
                InvalidMessage::TrailingData(part) => format!("{part} is too long"),
                InvalidMessage::UnexpectedMessage(part) => format!("unexpected {part}"),
                InvalidMessage::IllegalEmptyList(part) => format!("{part} is empty"),
                InvalidMessage::DuplicateExtension(number) => format!("extension {number} is repeated"),
                reason => words(reason, ' '),
            };
            format!("the {peer} sent an invalid TLS message ({what}); {}", update(peer))
        }
    }
}

/// The remedy for a peer that violates the protocol.
fn update(peer: &str) -> String {
    format!("update the {peer}, or check what is between it and this side")
}

/// The name of an alert in RFC 8446 section 6, such as `handshake_failure`.
fn alert_name(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnrecognisedName => "unrecognized_name".into(),
        AlertDescription::EncryptedClientHelloRequired => "ech_required".into(),
        alert => words(&alert, '_'),
    }
}

/// The name of a variant without its fields in lower case, its words separated by `separator`.
fn words(variant: &impl fmt::Debug, separator: char) -> String {
    let name = format!("{variant:?}");
    let name = name.split([' ', '(', '{']).next().unwrap_or_default();
    spaced(name, separator).to_lowercase()
}

/// Separates the words of a name in camel case; `UnknownCA` has two.
fn spaced(name: &str, separator: char) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::with_capacity(name.len() + 8);
    for (at, letter) in letters.iter().enumerate() {
        let follows_lower = at > 0 && !letters[at - 1].is_uppercase();
        let precedes_lower = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if at > 0 && letter.is_uppercase() && (follows_lower || precedes_lower) {
            text.push(separator);
        }
        text.push(*letter);
    }
    text
}

/// The names in an error of webpki, which displays `DnsName("a.example")`.
fn presented_names(presented: &[String]) -> String {
    const MAX: usize = 5;
    let bare = |name: &String| {
        let inner = name.strip_suffix(')').and_then(|rest| rest.split_once('('));
        inner.map_or(name.as_str(), |(_, inner)| inner.trim_matches('"')).to_owned()
    };
    let names: Vec<String> = presented.iter().take(MAX).map(bare).collect();
    let more = presented.len().saturating_sub(MAX);
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}

fn date_of(time: UnixTime) -> String {
    date(UNIX_EPOCH + Duration::from_secs(time.as_secs()))
}
