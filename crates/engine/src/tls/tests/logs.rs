//! The lines that certificates cause in the log.

use super::Ca;
use crate::tls::certificate::date;
use crate::tls::identity::{IdentitySource, Usage};
use crate::tls::reload::Watch;
use crate::tls::{ClientTls, TlsConfig, provider, server};
use ringway_testkit::certificates::{DAY, Folder, Identity, Leaf};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The lines that a call logs.
fn logged(call: impl FnOnce()) -> Vec<String> {
    let (mut reader, writer) = io::pipe().expect("two descriptors");
    let format = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
    tracing::subscriber::with_default(format.with_writer(Arc::new(writer)).finish(), call);
    let mut log = String::new();
    reader.read_to_string(&mut log).expect("the log is text");
    log.lines().map(|line| line.trim().to_owned()).collect()
}

/// The lines of reading this chain as that of a server, at this time.
fn lines_of(chain: &str, identity: &Identity, now: SystemTime) -> Vec<String> {
    let source: IdentitySource = server::bytes(chain.as_bytes(), identity.key.as_bytes());
    logged(|| drop(source.load(&provider(), Usage::Server, now).expect("a valid chain and its key")))
}

#[test]
fn a_certificate_that_expires_within_14_days_is_a_warning() {
    let ca = Ca::new();
    let now = SystemTime::now();
    let end = now + 40 * DAY;
    let identity = ca.intermediate.sign(&Leaf::new(&["a.example"]).valid(now - DAY, end));
    let minute = Duration::from_secs(60);
    assert_eq!(lines_of(&identity.chain(), &identity, end - 14 * DAY - minute), [""; 0]);
    let expected = |days| {
        let until = date(end);
        format!(
            "WARN the certificate CN=a.example in the PEM text of the certificate expires in {days} days, on {until}; \
             renew it"
        )
    };
    assert_eq!(lines_of(&identity.chain(), &identity, end - 14 * DAY + minute), [expected(13)]);
    assert_eq!(lines_of(&identity.chain(), &identity, end - minute), [expected(0)]);
}

#[test]
fn a_chain_of_one_certificate_is_a_warning_unless_it_is_self_signed() {
    let ca = Ca::new();
    let identity = ca.intermediate.issue(&["a.example"]);
    let now = SystemTime::now();
    assert_eq!(lines_of(&identity.chain(), &identity, now), [""; 0]);
    assert_eq!(
        lines_of(&identity.certificate, &identity, now),
        ["WARN the PEM text of the certificate has only the certificate CN=a.example: clients must have its issuer \
          CN=Test Intermediate as a CA; if that is an intermediate, append its certificate to the file"]
    );
    let own = Leaf::new(&["a.example"]).self_signed();
    assert_eq!(lines_of(&own.chain(), &own, now), [""; 0]);
}

#[test]
fn an_insecure_client_is_a_warning() {
    assert_eq!(
        logged(|| drop(ClientTls::insecure())),
        ["WARN certificates of servers are not verified: an attacker on the path can read the traffic"]
    );
}

#[test]
fn a_reload_is_one_line() {
    let (folder, ca) = (Folder::new(), Ca::new());
    let (certificate, key) = folder.write_identity("a", &ca.intermediate.issue(&["a.example"]));
    let config = TlsConfig::from_files(&certificate, key).expect("a chain and its key");
    let until = date(config.expires());
    let mut watch = Watch::new(config);
    assert_eq!(
        logged(|| assert!(watch.load())),
        [format!("INFO the TLS certificates are reloaded; the first expires on {until}")]
    );
    folder.write("a.pem", "");
    let lines = logged(|| assert!(!watch.poll() && !watch.poll() && !watch.poll()));
    let path = certificate.display();
    assert_eq!(
        lines,
        [format!(
            "ERROR the TLS certificates are not reloaded, the present ones remain in use: {path} has no certificate (it \
             is empty); give a PEM file with the section BEGIN CERTIFICATE"
        )]
    );
}

#[test]
fn a_running_server_warns_of_expiry_once_a_day() {
    let ca = Ca::new();
    let now = SystemTime::now();
    let identity = ca.intermediate.sign(&Leaf::new(&["a.example"]).valid(now - DAY, now + 10 * DAY));
    let mut watch = Watch::new(super::server(&identity));
    let lines = |watch: &mut Watch, days: u32| logged(|| watch.warn_of_expiry(now + days * DAY + DAY / 2)).len();
    assert_eq!(lines(&mut watch, 0), 0, "it was a warning when it was read");
    assert_eq!(lines(&mut watch, 1), 1);
    assert_eq!(lines(&mut watch, 1), 0);
    assert_eq!(lines(&mut watch, 2), 1);
}
