//! The verification of servers and clients, and its explanations.

use super::{Ca, Handshake, handshake, run, server, unchecked_server};
use crate::tls::certificate::date;
use crate::tls::{ClientAuth, ClientTls, TlsConfig, provider};
use ringway_testkit::certificates::{Authority, DAY, Identity, Leaf};
use rustls::Error;
use rustls::pki_types::ServerName;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A handshake with a server whose chain was not checked.
fn unchecked(chain: &str, identity: &Identity, client: &ClientTls, host: &str) -> Handshake {
    let name = client.server_name(host).expect("a valid name");
    run(unchecked_server(chain, identity), client.rustls(), name)
}

/// A time in whole seconds, as in certificates.
fn whole(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn a_server_of_a_trusted_ca_is_accepted() {
    let ca = Ca::new();
    let config = ca.server(&["a.example", "*.b.example", "192.0.2.1", "2001:db8::1"]);
    for host in ["a.example", "a.example.", "x.b.example", "192.0.2.1", "2001:db8::1", "[2001:db8::1]"] {
        handshake(&config, &ca.client(), host).expect();
    }
}

#[test]
fn a_name_that_is_not_in_the_certificate_is_rejected() {
    let ca = Ca::new();
    let ended = handshake(&ca.server(&["a.example", "*.b.example", "192.0.2.1"]), &ca.client(), "c.example");
    assert_eq!(
        ended.client_says(),
        "the certificate of the server is not for c.example (it has a.example, *.b.example, 192.0.2.1); use one of its \
         names, or give it with --servername"
    );
    assert_eq!(ended.server_says(), "the client rejected the certificate of this server (alert bad_certificate)");
    let many: Vec<String> = (1..9).map(|n| format!("n{n}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let text = handshake(&ca.server(&many), &ca.client(), "2001:db8::2").client_says();
    let names = "not for 2001:db8::2 (it has n1.example, n2.example, n3.example, n4.example, n5.example and 3 more)";
    assert!(text.contains(names), "{text}");
    let nameless = ca.intermediate.issue(&[]);
    let text = unchecked(&nameless.chain(), &nameless, &ca.client(), "a.example").client_says();
    assert!(text.contains("not for a.example (it has no names)"), "{text}");
}

#[test]
fn the_name_can_be_given_instead_of_the_host() {
    let ca = Ca::new();
    let config = ca.server(&["a.example"]);
    let client = ca.client().with_server_name("a.example").expect("a name");
    let ended = handshake(&config, &client, "127.0.0.1");
    ended.expect();
    assert_eq!(ended.server.server_name(), Some("a.example"));
    let error = ca.client().with_server_name("a b").expect_err("not a name").to_string();
    assert_eq!(
        error,
        "\"a b\" is neither a DNS name nor an IP address; give the name in the certificate of the server"
    );
}

#[test]
fn a_server_of_an_unknown_ca_is_rejected() {
    const UNKNOWN: &str = "the certificate of the server is from an unknown CA, or the server does not send its \
                           intermediate certificate; give the CA with --cacert, or skip the verification with -k";
    let ca = Ca::new();
    let config = ca.server(&["a.example"]);
    let ended = handshake(&config, &Ca::named("Other").client(), "a.example");
    assert_eq!(ended.client_says(), UNKNOWN);
    assert_eq!(
        ended.server_says(),
        "the client does not trust the CA of the certificate of this server, or an intermediate certificate is missing \
         in --tls-cert (alert unknown_ca)"
    );
    // The roots of the system, or Mozilla's without them, have no CA of a test.
    let system = ClientTls::new().expect("the roots of the system, or Mozilla's");
    assert_eq!(handshake(&config, &system, "a.example").client_says(), UNKNOWN);
    // So have Mozilla's, which are used if the system has none.
    let none = Err(Error::General("No CA certificates were loaded from the system".into()));
    let mozilla = ClientTls::with_system_roots(none, provider()).expect("Mozilla's roots");
    assert!(format!("{mozilla:?}").contains("trust: Mozilla"));
    assert_eq!(handshake(&config, &mozilla, "a.example").client_says(), UNKNOWN);
    // The server omits its intermediate.
    let identity = ca.intermediate.issue(&["a.example"]);
    assert_eq!(unchecked(&identity.certificate, &identity, &ca.client(), "a.example").client_says(), UNKNOWN);
    // The server is its own CA.
    let own = Leaf::new(&["a.example"]).self_signed();
    assert_eq!(unchecked(&own.chain(), &own, &ca.client(), "a.example").client_says(), UNKNOWN);
}

const BAD_SIGNATURE: &str = "a signature of the server does not verify: its key is not that of its certificate, or its \
                             chain is of another CA with the same name";

#[test]
fn a_server_of_another_ca_with_the_same_name_is_rejected() {
    let ended = handshake(&Ca::new().server(&["a.example"]), &Ca::new().client(), "a.example");
    assert_eq!(ended.client_says(), BAD_SIGNATURE);
}

#[test]
fn a_self_signed_server_is_accepted_if_it_is_given_as_the_ca() {
    let own = Leaf::new(&["a.example"]).self_signed();
    let client = ClientTls::with_ca_pem(own.certificate.as_bytes()).expect("a certificate");
    handshake(&server(&own), &client, "a.example").expect();
}

#[test]
fn a_server_outside_its_validity_is_rejected_with_the_date() {
    let ca = Ca::new();
    let now = whole(SystemTime::now());
    let expired = ca.intermediate.sign(&Leaf::new(&["a.example"]).valid(now - 90 * DAY, now - DAY));
    let ended = unchecked(&expired.chain(), &expired, &ca.client(), "a.example");
    let text = ended.client_says();
    let start = format!("a certificate of the server expired on {}; renew it, or check the clock", date(now - DAY));
    assert!(text.starts_with(&start), "{text}");
    assert_eq!(
        ended.server_says(),
        "to the client, the certificate of this server has expired; renew it, or check the clocks of both (alert \
         certificate_expired)"
    );
    let future = ca.intermediate.sign(&Leaf::new(&["a.example"]).valid(now + DAY, now + 90 * DAY));
    let text = unchecked(&future.chain(), &future, &ca.client(), "a.example").client_says();
    let start = format!("a certificate of the server is not valid before {}; check the clock", date(now + DAY));
    assert!(text.starts_with(&start), "{text}");
}

#[test]
fn a_certificate_for_another_purpose_is_rejected() {
    let ca = Ca::new();
    let identity = ca.intermediate.sign(&Leaf::new(&["a.example"]).client());
    assert_eq!(
        unchecked(&identity.chain(), &identity, &ca.client(), "a.example").client_says(),
        "the certificate of the server is not for use by a server (extended key usage)"
    );
    // Self-signed, as `openssl req -x509` makes it, also if it is given as the CA.
    let own = Leaf::new(&["a.example"]).marked_as_ca().self_signed();
    let client = ClientTls::with_ca_pem(own.certificate.as_bytes()).expect("a certificate");
    assert_eq!(
        unchecked(&own.chain(), &own, &client, "a.example").client_says(),
        "the certificate of the server is marked as that of a CA; make one with basicConstraints=CA:FALSE, or skip the \
         verification with -k"
    );
}

#[test]
fn an_insecure_client_accepts_every_certificate_but_verifies_signatures() {
    let ca = Ca::new();
    let client = ClientTls::insecure();
    let now = SystemTime::now();
    let expired = ca.intermediate.sign(&Leaf::new(&["a.example"]).valid(now - 90 * DAY, now - DAY));
    unchecked(&expired.chain(), &expired, &client, "other.example").expect();
    // The server has a certificate, but not its key.
    let (certificate, key) = (ca.intermediate.issue(&["a.example"]), ca.intermediate.issue(&["a.example"]));
    assert_eq!(unchecked(&certificate.chain(), &key, &client, "a.example").client_says(), BAD_SIGNATURE);
}

/// A server that authenticates clients of this CA.
fn authenticating(ca: &Ca, auth: ClientAuth) -> TlsConfig {
    ca.server(&["a.example"]).client_ca_pem(ca.root.pem().as_bytes(), auth).expect("a root")
}

/// A client with a certificate of this authority.
fn with_identity(client: ClientTls, authority: &Authority) -> ClientTls {
    let identity = authority.sign(&Leaf::new(&["client.example"]).client());
    client.identity_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a chain and its key")
}

#[test]
fn rfc8446_4_3_2_a_client_is_authenticated_by_its_certificate() {
    let ca = Ca::new();
    for auth in [ClientAuth::Required, ClientAuth::Optional] {
        let ended = handshake(&authenticating(&ca, auth), &with_identity(ca.client(), &ca.intermediate), "a.example");
        ended.expect();
        assert_eq!(ended.server.peer_certificates().map(<[_]>::len), Some(2), "{auth:?}");
        // The certificate of another CA is rejected, even if none is required.
        let stranger = with_identity(ca.client(), &Authority::root("Other Root"));
        let ended = handshake(&authenticating(&ca, auth), &stranger, "a.example");
        assert_eq!(ended.server_says(), "the certificate of the client is not from a CA of --tls-client-ca");
        assert_eq!(
            ended.client_says(),
            "the server does not trust the CA of the client certificate (--cert) (alert unknown_ca)"
        );
    }
    // Without being asked, a client does not send its certificate.
    let ended = handshake(&ca.server(&["a.example"]), &with_identity(ca.client(), &ca.intermediate), "a.example");
    ended.expect();
    assert_eq!(ended.server.peer_certificates(), None);
}

#[test]
fn a_client_without_a_certificate_is_rejected_if_one_is_required() {
    let ca = Ca::new();
    let ended = handshake(&authenticating(&ca, ClientAuth::Required), &ca.client(), "a.example");
    assert_eq!(ended.server_says(), "the client sent no certificate, and this server requires one (--tls-client-auth)");
    assert_eq!(
        ended.client_says(),
        "the server requires a client certificate; give it with --cert and --key (alert certificate_required)"
    );
    let ended = handshake(&authenticating(&ca, ClientAuth::Optional), &ca.client(), "a.example");
    ended.expect();
    assert_eq!(ended.server.peer_certificates(), None);
}

#[test]
fn a_resumed_session_has_the_certificate_of_the_client() {
    let ca = Ca::new();
    let config = authenticating(&ca, ClientAuth::Required);
    let client = with_identity(ca.client(), &ca.intermediate);
    assert!(!handshake(&config, &client, "a.example").resumed());
    let second = handshake(&config, &client, "a.example");
    assert!(second.resumed());
    assert_eq!(second.server.peer_certificates().map(<[_]>::len), Some(2));
}

#[test]
fn host_names_are_converted_to_server_names() {
    let client = ClientTls::insecure();
    for (host, expected) in [
        ("a.example", "a.example"),
        ("a.example.", "a.example"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::1]", "::1"),
    ] {
        let name: ServerName<'static> = client.server_name(host).expect("a valid name");
        assert_eq!(name.to_str(), expected, "{host}");
    }
    for host in ["", ".", "a..example", "b\u{fc}cher.example", "a.example:443", "-"] {
        assert!(client.server_name(host).is_err(), "{host:?}");
    }
}

#[test]
fn tickets_of_a_clone_do_not_replace_the_certificate_of_a_client() {
    let ca = Ca::new();
    let open = ca.server(&["a.example"]);
    let strict = open.clone().client_ca_pem(ca.root.pem().as_bytes(), ClientAuth::Required).expect("a CA");
    let client = ca.client();
    assert!(handshake(&open, &client, "a.example").server_error.is_none());
    let second = handshake(&strict, &client, "a.example");
    assert!(second.server_error.is_some(), "resumed: {}", second.resumed());
}
