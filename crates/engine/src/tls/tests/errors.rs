//! The errors of files, each with its sentence.

use super::Ca;
use crate::tls::certificate::date;
use crate::tls::{ClientAuth, ClientTls, TlsConfig};
use ringway_testkit::certificates::{Authority, DAY, Folder, KeyKind, Leaf};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The error of a server with these files, without the name of the folder.
fn error_of(folder: &Folder, certificate: &Path, key: &Path) -> String {
    let error = TlsConfig::from_files(certificate, key).expect_err("a defect").to_string();
    error.replace(&format!("{}/", folder.path("").display().to_string().trim_end_matches('/')), "")
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let (certificate, key) = folder.write_identity("a", &ca.intermediate.issue(&["a.example"]));
    let none = folder.path("none.pem");
    let missing =
        "cannot read none.pem: No such file or directory (os error 2); give a PEM file that this user can read";
    assert_eq!(error_of(&folder, &none, &key), missing);
    assert_eq!(error_of(&folder, &certificate, &none), missing);
    let text = error_of(&folder, folder.as_ref(), &key);
    assert!(text.contains("Is a directory"), "{text}");
    let error = ClientTls::with_ca_files([&none]).expect_err("no file").to_string();
    assert!(error.starts_with("cannot read "), "{error}");
}

#[test]
fn a_file_without_a_certificate_or_a_key_has_a_remedy() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let identity = ca.intermediate.issue(&["a.example"]);
    let (certificate, key) = folder.write_identity("a", &identity);
    let no_certificate = "has no certificate, but a private key; give a PEM file with the section BEGIN CERTIFICATE";
    assert_eq!(error_of(&folder, &key, &key), format!("a.key {no_certificate}"));
    let no_key = "has no private key, but a certificate; give a PEM file with the section BEGIN PRIVATE KEY";
    assert_eq!(error_of(&folder, &certificate, &certificate), format!("a.pem {no_key}"));
    // Exchanged files are found by the first of them.
    assert_eq!(error_of(&folder, &key, &certificate), format!("a.key {no_certificate}"));
    let empty = folder.write("empty", "\n");
    assert_eq!(
        error_of(&folder, &empty, &key),
        "empty has no certificate (it is empty); give a PEM file with the section BEGIN CERTIFICATE"
    );
    assert_eq!(
        error_of(&folder, &certificate, &empty),
        "empty has no private key (it is empty); give a PEM file with the section BEGIN PRIVATE KEY"
    );
    let binary = folder.write("a.der", super::der(&identity));
    assert_eq!(
        error_of(&folder, &binary, &key),
        "a.der has no certificate (it is DER: `openssl x509 -inform der` converts it); give a PEM file with the section \
         BEGIN CERTIFICATE"
    );
    assert_eq!(
        error_of(&folder, &certificate, &binary),
        "a.der has no private key (it is DER: `openssl pkey -inform der` converts it); give a PEM file with the section \
         BEGIN PRIVATE KEY"
    );
    // One file can have both.
    let both = folder.write("both", identity.chain() + &identity.key);
    assert!(TlsConfig::from_files(&both, &both).is_ok());
    let error = TlsConfig::from_pem(b"", identity.key.as_bytes()).expect_err("empty").to_string();
    assert!(error.starts_with("the PEM text of the certificate has no certificate (it is empty)"), "{error}");
}

#[test]
fn rfc7468_invalid_pem_is_named() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let identity = ca.intermediate.issue(&["a.example"]);
    let (certificate, key) = folder.write_identity("a", &identity);
    let cut = folder.write("cut.pem", &identity.certificate[..200]);
    assert_eq!(
        error_of(&folder, &cut, &key),
        "cut.pem is not valid PEM: the line -----END CERTIFICATE----- is missing"
    );
    let other = folder.write("other.key", identity.key.replace("BEGIN PRIVATE KEY-----", "BEGIN PRIVATE KEY"));
    assert_eq!(
        error_of(&folder, &certificate, &other),
        "other.key is not valid PEM: the line \"-----BEGIN PRIVATE KEY\" is incomplete"
    );
    let stars = folder.write("stars.pem", "-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n");
    assert_eq!(error_of(&folder, &stars, &key), "stars.pem is not valid PEM: a section is not base64");
    let text = folder.write("text.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    let error = error_of(&folder, &text, &key);
    assert!(error.starts_with("certificate 1 in text.pem cannot be parsed: "), "{error}");
    assert!(error.ends_with("; replace the file"), "{error}");
    let second = folder.write(
        "second.pem",
        identity.certificate.clone() + "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    );
    assert!(error_of(&folder, &second, &key).starts_with("certificate 2 in second.pem cannot be parsed: "));
    let broken = folder.write("broken.key", "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n");
    let error = error_of(&folder, &certificate, &broken);
    assert!(error.starts_with("the private key in broken.key cannot be used: "), "{error}");
    assert!(error.ends_with("an Ed25519 key, or an RSA key of 2048 to 8192 bits"), "{error}");
}

#[test]
fn a_key_is_alone_unencrypted_and_that_of_the_certificate() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let (identity, other) = (ca.intermediate.issue(&["a.example"]), ca.intermediate.issue(&["b.example"]));
    let (certificate, _) = folder.write_identity("a", &identity);
    let two = folder.write("two.key", identity.key.clone() + &other.key);
    assert_eq!(error_of(&folder, &certificate, &two), "two.key has 2 private keys; keep only that of the certificate");
    let (_, other) = folder.write_identity("b", &other);
    assert_eq!(
        error_of(&folder, &certificate, &other),
        "the private key in b.key does not match the certificate CN=a.example in a.pem; give the key from which the \
         certificate was requested"
    );
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE \
         KEY-----\n",
    ] {
        let key = folder.write("secret.key", encrypted);
        let error = TlsConfig::from_files(&certificate, &key).expect_err("an encrypted key").to_string();
        let path = key.display();
        assert_eq!(
            error,
            format!("the private key in {path} is encrypted; decrypt it with `openssl pkey -in {path} -out key.pem`")
        );
    }
    let kinds = [KeyKind::P256, KeyKind::Ed25519, KeyKind::Rsa];
    for kind in kinds {
        let identity = ca.intermediate.sign(&Leaf::new(&["a.example"]).key(kind));
        assert!(TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).is_ok(), "{kind:?}");
        // A key of another kind does not match either.
        let other = kinds[(kind as usize + 1) % 3];
        let other = ca.intermediate.sign(&Leaf::new(&["a.example"]).key(other));
        let error = TlsConfig::from_pem(identity.chain().as_bytes(), other.key.as_bytes()).expect_err("another key");
        assert!(error.to_string().contains("does not match the certificate CN=a.example"), "{error}");
    }
}

#[test]
fn a_certificate_outside_its_validity_is_refused() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let now = SystemTime::now();
    let expired = ca.intermediate.sign(&Leaf::new(&["a.example"]).valid(now - 90 * DAY, now - DAY));
    let (certificate, key) = folder.write_identity("a", &expired);
    let until = date(now - DAY);
    let expected = format!("the certificate CN=a.example in a.pem expired on {until}; renew it");
    assert_eq!(error_of(&folder, &certificate, &key), expected);
    let future = ca.intermediate.sign(&Leaf::new(&["a.example"]).valid(now + DAY, now + 90 * DAY));
    let (certificate, key) = folder.write_identity("b", &future);
    let from = date(now + DAY);
    let expected =
        format!("the certificate CN=a.example in b.pem is not valid before {from}; check the clock of this machine");
    assert_eq!(error_of(&folder, &certificate, &key), expected);
}

#[test]
fn a_chain_lacks_no_intermediate() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let identity = ca.intermediate.issue(&["a.example"]);
    let key = folder.write("a.key", &identity.key);
    let accepted = |chain: String| TlsConfig::from_pem(chain.as_bytes(), identity.key.as_bytes()).is_ok();
    assert!(accepted(identity.chain()));
    assert!(accepted(identity.chain() + &ca.root.pem()), "the root may be in the file");
    assert!(accepted(identity.certificate.clone()), "clients may have the intermediate: a warning");
    assert!(accepted(identity.chain() + &Authority::root("Other Root").pem()), "other certificates are not used");
    let gap = folder.write("gap.pem", identity.certificate.clone() + &ca.root.pem());
    assert_eq!(
        error_of(&folder, &gap, &key),
        "gap.pem lacks an intermediate certificate: CN=a.example is issued by CN=Test Intermediate, and the next \
         certificate is CN=Test Root; put the certificate of the issuer after that of the server"
    );
    // An intermediate of the same name, but with another key.
    let impostor = ca.root.intermediate("Test Intermediate");
    let broken = folder.write("broken.pem", identity.certificate.clone() + &impostor.pem());
    let error = error_of(&folder, &broken, &key);
    assert_eq!(
        error,
        "the chain of CN=a.example in broken.pem does not verify: a signature is not that of the next certificate; \
         replace the file with the chain from the CA"
    );
    let own = Leaf::new(&["a.example"]).self_signed();
    assert!(TlsConfig::from_pem(own.chain().as_bytes(), own.key.as_bytes()).is_ok());
    // As `openssl req -x509` makes it. Clients other than webpki accept it as their CA.
    let own = Leaf::new(&["a.example"]).marked_as_ca().self_signed();
    assert!(TlsConfig::from_pem(own.chain().as_bytes(), own.key.as_bytes()).is_ok());
    let client = ca.intermediate.sign(&Leaf::new(&["a.example"]).client());
    let error = TlsConfig::from_pem(client.chain().as_bytes(), client.key.as_bytes()).expect_err("not for servers");
    assert!(error.to_string().contains("does not verify: "), "{error}");
}

#[test]
fn a_ca_file_has_certificates() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let identity = ca.intermediate.issue(&["a.example"]);
    let (certificate, key) = folder.write_identity("a", &identity);
    let config = TlsConfig::from_files(certificate, &key).expect("a chain and its key");
    let error = config.client_ca_file(&key, ClientAuth::Required).expect_err("a key").to_string();
    assert!(error.contains("a.key has no certificate, but a private key"), "{error}");
    let error = ClientTls::with_ca_pem(b"").expect_err("nothing").to_string();
    assert!(error.starts_with("the PEM text of the CA has no certificate (it is empty)"), "{error}");
    let bad = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let error = ClientTls::with_ca_pem((ca.root.pem() + bad).as_bytes()).expect_err("not a certificate").to_string();
    assert!(error.starts_with("certificate 2 in the PEM text of the CA cannot be parsed: "), "{error}");
}

#[test]
fn the_first_end_of_validity_is_reported() {
    let ca = Ca::new();
    let now = SystemTime::now();
    let until = |days: u32| {
        let leaf = Leaf::new(&["a.example"]).valid(now - DAY, now + days * DAY);
        ca.intermediate.sign(&leaf)
    };
    let (long, short) = (until(80), until(20));
    let config = super::server(&long).and_pem(short.chain().as_bytes(), short.key.as_bytes()).expect("a pair");
    let expected = (now + 20 * DAY).duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert_eq!(config.expires(), UNIX_EPOCH + Duration::from_secs(expected));
}

#[test]
fn keys_do_not_occur_in_debug_output() {
    let ca = Ca::new();
    let identity = ca.intermediate.issue(&["a.example"]);
    let server = super::server(&identity);
    let client = ca.client().identity_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a pair");
    let secret = identity.key.lines().nth(1).expect("base64");
    let text = format!("{server:?} {client:?}");
    assert!(text.contains("a.example") && !text.contains(secret), "{text}");
}

#[test]
fn dates_are_in_utc() {
    let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(at(0), "1970-01-01 00:00:00 UTC");
    assert_eq!(at(1_709_251_199), "2024-02-29 23:59:59 UTC");
    assert_eq!(at(4_102_444_800), "2100-01-01 00:00:00 UTC");
    assert_eq!(at(300_000_000_000), "300000000000 s after 1970");
}
