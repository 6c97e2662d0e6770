//! Explanations of errors that the handshakes of the other tests do not cause.

use crate::tls::explain;
use ringway_codec::Role;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

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
