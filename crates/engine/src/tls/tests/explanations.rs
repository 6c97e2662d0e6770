//! Explanations of errors that the handshakes of the other tests do not cause.

use crate::tls::explain;
use ringway_codec::Role;
use rustls::{
    AlertDescription, CertificateError, ContentType, Error, ExtendedKeyPurpose, HandshakeType, InvalidMessage,
    OtherError, PeerIncompatible, PeerMisbehaved,
};
use std::sync::Arc;

fn client(error: impl Into<Error>) -> String {
    explain(&error.into(), Role::Client, Some("a.example"))
}

fn server(error: impl Into<Error>) -> String {
    explain(&error.into(), Role::Server, None)
}

#[test]
fn a_peer_without_tls_is_recognized() {
    let plain = "the server does not answer in TLS: is its port plain? then use ws://";
    assert_eq!(client(InvalidMessage::InvalidContentType), plain);
    assert_eq!(client(InvalidMessage::UnknownProtocolVersion), plain);
    assert_eq!(server(InvalidMessage::InvalidContentType), "the client does not use TLS: this port is for wss://");
}

#[test]
fn missing_common_versions_and_ciphers_are_named() {
    for reason in [
        PeerIncompatible::ServerDoesNotSupportTls12Or13,
        PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        PeerIncompatible::SupportedVersionsExtensionRequired,
    ] {
        assert_eq!(client(reason), "there is no common version of TLS: the server supports neither 1.2 nor 1.3");
    }
    for reason in [PeerIncompatible::Tls12NotOffered, PeerIncompatible::Tls12NotOfferedOrEnabled] {
        let text = server(reason);
        assert!(text.starts_with("there is no common version of TLS: "), "{text}");
    }
    assert_eq!(server(PeerIncompatible::NoCipherSuitesInCommon), "there is no cipher suite in common with the client");
    assert_eq!(
        client(PeerIncompatible::NoKxGroupsInCommon),
        "there is no key exchange group in common with the server"
    );
    assert_eq!(
        server(PeerIncompatible::ExtendedMasterSecretExtensionRequired),
        "the client lacks the extended master secret (RFC 7627), which TLS 1.2 requires here"
    );
    assert_eq!(
        client(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon),
        "the server accepts no client certificate with this kind of key"
    );
    assert_eq!(
        server(PeerIncompatible::NullCompressionRequired),
        "the client is not compatible (null compression required); update the client, or check what is between it and this \
         side"
    );
}

#[test]
fn rfc8446_6_2_each_alert_names_the_rejected_item() {
    let alert = Error::AlertReceived;
    for (description, text) in [
        (
            AlertDescription::HandshakeFailure,
            "the server rejected the handshake: there is no common cipher suite or version, or it requires a client \
             certificate (--cert) (alert handshake_failure)",
        ),
        (
            AlertDescription::UnrecognisedName,
            "the server has no certificate for a.example; give another name with --servername (alert unrecognized_name)",
        ),
        (AlertDescription::AccessDenied, "the server rejected the client certificate (--cert) (alert access_denied)"),
        (
            AlertDescription::InternalError,
            "the server failed with an internal error; see its log (alert internal_error)",
        ),
        (AlertDescription::UserCanceled, "the server ended the handshake (alert user_canceled)"),
        (AlertDescription::BadRecordMac, "the server ended the connection with the alert bad_record_mac"),
        (AlertDescription::Unknown(200), "the server ended the connection with the unknown alert 200"),
    ] {
        assert_eq!(client(alert(description)), text);
    }
    for (description, text) in [
        (
            AlertDescription::HandshakeFailure,
            "the client rejected the handshake: there is no common cipher suite or version (alert handshake_failure)",
        ),
        (
            AlertDescription::CertificateUnknown,
            "the client rejected the certificate of this server (alert certificate_unknown)",
        ),
        (
            AlertDescription::CertificateRevoked,
            "to the client, the certificate of this server has been revoked; renew it (alert certificate_revoked)",
        ),
    ] {
        assert_eq!(server(alert(description)), text);
    }
}

#[test]
fn damaged_and_hostile_records_are_explained() {
    assert_eq!(
        server(Error::DecryptError),
        "a record of the client could not be decrypted: it was changed on the way, or the client is faulty"
    );
    assert_eq!(client(Error::PeerSentOversizedRecord), "the server sent a record longer than TLS allows");
    assert_eq!(server(InvalidMessage::MessageTooLarge), "the client sent a record longer than TLS allows, or not TLS");
    assert_eq!(
        server(PeerMisbehaved::TooManyKeyUpdateRequests),
        "the client sent a flood of messages without data (too many key update requests)"
    );
    assert_eq!(
        client(PeerMisbehaved::SelectedUnofferedCipherSuite),
        "the server violated the TLS protocol (selected unoffered cipher suite); update the server, or check what is \
         between it and this side"
    );
    assert_eq!(
        client(PeerMisbehaved::SelectedUnofferedApplicationProtocol),
        "the server selected an application protocol (ALPN) that was not offered"
    );
    assert_eq!(
        server(InvalidMessage::HandshakePayloadTooLarge),
        "the client sent a handshake message that is too long (handshake payload too large)"
    );
    assert_eq!(
        client(InvalidMessage::MissingData("ServerHello")),
        "the server sent an invalid TLS message (ServerHello is incomplete); update the server, or check what is between \
         it and this side"
    );
}

#[test]
fn certificate_errors_without_context_are_explained() {
    for (error, text) in [
        (CertificateError::Expired, "a certificate of the server has expired; renew it"),
        (
            CertificateError::NotValidYet,
            "a certificate of the server is not valid yet; check the clock of this machine",
        ),
        (
            CertificateError::NotValidForName,
            "the certificate of the server is not for a.example; use its name, or give it with --servername",
        ),
        (CertificateError::Revoked, "a certificate of the server has been revoked"),
        (CertificateError::BadEncoding, "a certificate of the server cannot be parsed"),
        (
            CertificateError::UnhandledCriticalExtension,
            "a certificate of the server has a critical extension that is not supported; have it issued without",
        ),
    ] {
        assert_eq!(client(error), text);
    }
    assert_eq!(client(Error::NoCertificatesPresented), "the server sent no certificate");
    assert_eq!(server(Error::HandshakeNotComplete), "TLS failed: handshake not complete");
}

/// An error of webpki, which displays its name.
fn webpki(name: &str) -> CertificateError {
    CertificateError::Other(OtherError(Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(name))))
}

#[test]
fn certificate_errors_of_other_kinds_have_a_remedy() {
    let mismatch = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
        signature_algorithm_id: vec![6, 9, 42],
        public_key_algorithm_id: vec![6, 7, 42],
    };
    let sha1 = CertificateError::UnsupportedSignatureAlgorithmContext {
        signature_algorithm_id: vec![6, 9, 42],
        supported_algorithms: Vec::new(),
    };
    for (error, text) in [
        (
            mismatch,
            "a signature of the server is not of the kind of key in its certificate: its key is not that of its \
             certificate; give the server the key from which the certificate was requested",
        ),
        (
            sha1,
            "a certificate of the server has an unsupported kind of signature, such as one with SHA-1; have it issued \
             with ECDSA, Ed25519, or RSA of 2048 to 8192 bits, and SHA-256 or longer",
        ),
        (
            webpki("CaUsedAsEndEntity"),
            "the certificate of the server is marked as that of a CA; make one with basicConstraints=CA:FALSE, or skip \
             the verification with -k",
        ),
        (webpki("UnsupportedCertVersion"), "a certificate of the server is not of version 3 of X.509; make one of it"),
        (
            webpki("EndEntityUsedAsCa"),
            "the issuer of a certificate of the server is not marked as a CA; issue it with basicConstraints=CA:TRUE",
        ),
        (
            webpki("InvalidCertValidity"),
            "the certificate of the server is not valid (invalid cert validity); replace it",
        ),
        (
            CertificateError::InvalidOcspResponse,
            "the certificate of the server is not valid (invalid ocsp response); replace it",
        ),
    ] {
        assert_eq!(client(error), text);
    }
}

#[test]
fn messages_out_of_order_are_named() {
    let record = Error::InappropriateMessage {
        expect_types: vec![ContentType::Handshake, ContentType::ChangeCipherSpec],
        got_type: ContentType::ApplicationData,
    };
    assert_eq!(
        server(record),
        "the client sent a TLS message out of order (expected handshake or change cipher spec, got application data); \
         update the client, or check what is between it and this side"
    );
    let message = Error::InappropriateHandshakeMessage {
        expect_types: vec![HandshakeType::ServerHello],
        got_type: HandshakeType::Finished,
    };
    assert_eq!(
        client(message),
        "the server sent a TLS message out of order (expected ServerHello, got Finished); update the server, or check \
         what is between it and this side"
    );
    assert_eq!(
        server(PeerIncompatible::SignatureAlgorithmsExtensionRequired),
        "there is no common version of TLS: the client offers no signature algorithms, as before TLS 1.2; update the \
         client"
    );
}

/// A word in camel case that is not a name of the RFCs: the name of a variant.
fn has_a_variant(text: &str) -> bool {
    const NAMES: [&str; 6] =
        ["ClientHello", "ServerHello", "Finished", "NewSessionTicket", "KeyUpdate", "basicConstraints=CA:FALSE"];
    let is_camel = |word: &str| {
        let letters: Vec<char> = word.chars().collect();
        letters.windows(2).any(|pair| pair[0].is_lowercase() && pair[1].is_uppercase())
    };
    let mut words = text.split(|letter: char| letter.is_whitespace() || "(),;".contains(letter));
    text.contains(['{', '"', '[']) || words.any(|word| is_camel(word) && !NAMES.contains(&word))
}

#[test]
fn no_text_has_the_name_of_a_variant() {
    use rustls::pki_types::{ServerName, UnixTime};
    use std::time::Duration;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(1));
    let certificates = [
        CertificateError::BadEncoding,
        CertificateError::Expired,
        CertificateError::ExpiredContext { time, not_after: time },
        CertificateError::NotValidYet,
        CertificateError::NotValidYetContext { time, not_before: time },
        CertificateError::Revoked,
        CertificateError::UnhandledCriticalExtension,
        CertificateError::UnknownIssuer,
        CertificateError::UnknownRevocationStatus,
        CertificateError::ExpiredRevocationList,
        CertificateError::ExpiredRevocationListContext { time, next_update: time },
        CertificateError::BadSignature,
        CertificateError::NotValidForName,
        CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.example").expect("a name"),
            presented: vec!["DnsName(\"b.example\")".into()],
        },
        CertificateError::InvalidPurpose,
        CertificateError::InvalidPurposeContext { required: ExtendedKeyPurpose::ServerAuth, presented: Vec::new() },
        CertificateError::InvalidOcspResponse,
        CertificateError::ApplicationVerificationFailure,
        webpki("NameConstraintViolation"),
        webpki("PathLenConstraintViolated"),
        webpki("MaximumPathBuildCallsExceeded"),
    ];
    let incompatible = [
        PeerIncompatible::EcPointsExtensionRequired,
        PeerIncompatible::IncorrectCertificateTypeExtension,
        PeerIncompatible::KeyShareExtensionRequired,
        PeerIncompatible::NamedGroupsExtensionRequired,
        PeerIncompatible::NoEcPointFormatsInCommon,
        PeerIncompatible::NoSignatureSchemesInCommon,
        PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension,
        PeerIncompatible::UncompressedEcPointsRequired,
        PeerIncompatible::UnsolicitedCertificateTypeExtension,
        PeerIncompatible::ServerRejectedEncryptedClientHello(None),
    ];
    let misbehaved = [
        PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported,
        PeerMisbehaved::IncorrectBinder,
        PeerMisbehaved::InvalidKeyShare,
        PeerMisbehaved::KeyEpochWithPendingFragment,
        PeerMisbehaved::MessageInterleavedWithHandshakeMessage,
        PeerMisbehaved::SignedKxWithWrongAlgorithm,
        PeerMisbehaved::TooManyRenegotiationRequests,
        PeerMisbehaved::TooManyWarningAlertsReceived,
    ];
    let messages = [
        InvalidMessage::InvalidCcs,
        InvalidMessage::InvalidEmptyPayload,
        InvalidMessage::InvalidServerName,
        InvalidMessage::MessageTooShort,
        InvalidMessage::MissingKeyExchange,
        InvalidMessage::NoSignatureSchemes,
        InvalidMessage::TrailingData("ClientHello"),
        InvalidMessage::IllegalEmptyList("cipher suites"),
        InvalidMessage::DuplicateExtension(13),
        InvalidMessage::CertificatePayloadTooLarge,
    ];
    let alerts = (0..=255).map(|code| Error::AlertReceived(AlertDescription::from(code)));
    let others =
        [Error::DecryptError, Error::EncryptError, Error::HandshakeNotComplete, Error::PeerSentOversizedRecord];
    let all = certificates.into_iter().map(Error::from);
    let all =
        all.chain(incompatible.map(Error::from)).chain(misbehaved.map(Error::from)).chain(messages.map(Error::from));
    for error in all.chain(alerts).chain(others) {
        for role in [Role::Client, Role::Server] {
            let text = explain(&error, role, Some("a.example"));
            assert!(!has_a_variant(&text), "{error:?}: {text}");
        }
    }
    assert!(has_a_variant("not valid: UnhandledCriticalExtension") && has_a_variant("Context { time: 1 }"));
}
