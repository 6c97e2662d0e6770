//! Reloading: new files are used, defective ones are not.

use super::{Ca, der, handshake};
use crate::tls::reload::Watch;
use crate::tls::{ClientAuth, ClientTls, TlsConfig, TlsReload};
use ringway_testkit::certificates::{Authority, Folder, Identity, Leaf};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// How long a test waits for the thread before it fails. It is a watchdog.
const WATCHDOG: Duration = Duration::from_secs(30);

/// A server with files.
struct Files {
    folder: Folder,
    ca: Ca,
    first: Identity,
    config: TlsConfig,
}

impl Files {
    fn new() -> Self {
        let (folder, ca) = (Folder::new(), Ca::new());
        let first = ca.intermediate.issue(&["a.example"]);
        let (certificate, key) = folder.write_identity("a", &first);
        let config = TlsConfig::from_files(certificate, key).expect("a chain and its key");
        Self { folder, ca, first, config }
    }

    /// Replaces the certificate and the key.
    fn renew(&self) -> Identity {
        let identity = self.ca.intermediate.issue(&["a.example"]);
        self.folder.write_identity("a", &identity);
        identity
    }

    /// Asserts that this configuration presents this certificate.
    fn expect(&self, config: &TlsConfig, identity: &Identity) {
        assert_eq!(handshake(config, &self.ca.client(), "a.example").certificate(), der(identity));
    }
}

#[test]
fn a_changed_pair_is_loaded_when_it_is_complete() {
    let files = Files::new();
    let mut watch = Watch::new(files.config.clone());
    assert!(!watch.poll() && !watch.poll(), "nothing has changed");
    let second = files.ca.intermediate.issue(&["a.example"]);
    files.folder.write("a.pem", second.chain());
    assert!(!watch.poll(), "the files may still be changing");
    files.folder.write("a.key", &second.key);
    assert!(!watch.poll(), "the key has changed since");
    assert!(watch.poll(), "both have been unchanged for one interval");
    files.expect(watch.config(), &second);
    assert!(!watch.poll() && !watch.poll(), "it is loaded");
    // The old configuration continues to serve the handshakes that it has begun.
    files.expect(&files.config, &files.first);
}

#[test]
fn files_replaced_before_the_start_are_a_change() {
    let files = Files::new();
    let clients = files.folder.write("clients.pem", files.ca.root.pem());
    let config = files.config.clone().client_ca_file(&clients, ClientAuth::Optional).expect("a root");
    let second = files.renew();
    let mut watch = Watch::new(config);
    assert!(!watch.poll() && watch.poll());
    files.expect(watch.config(), &second);

    let config = watch.config().clone();
    assert!(!watch.poll() && !watch.poll(), "nothing has changed since");
    files.folder.write("clients.pem", Authority::root("Other Root").pem());
    let mut watch = Watch::new(config);
    assert!(!watch.poll() && watch.poll(), "the CA of clients has changed");
}

#[test]
fn a_file_written_in_place_is_a_change() {
    let files = Files::new();
    let mut watch = Watch::new(files.config.clone());
    let second = files.ca.intermediate.issue(&["a.example"]);
    std::fs::write(files.folder.path("a.pem"), second.chain() + "\n").expect("a writable file");
    std::fs::write(files.folder.path("a.key"), &second.key).expect("a writable file");
    assert!(!watch.poll() && watch.poll());
    files.expect(watch.config(), &second);
}

#[test]
fn a_symbolic_link_to_another_folder_is_a_change() {
    // As Kubernetes replaces the files of a secret.
    let (folder, ca) = (Folder::new(), Ca::new());
    let identities = [ca.intermediate.issue(&["a.example"]), ca.intermediate.issue(&["a.example"])];
    for (version, identity) in identities.iter().enumerate() {
        std::fs::create_dir(folder.path(&version.to_string())).expect("a new folder");
        folder.write_identity(&format!("{version}/tls"), identity);
    }
    let link = |version: &str| {
        std::os::unix::fs::symlink(version, folder.path("data.new")).expect("a new link");
        std::fs::rename(folder.path("data.new"), folder.path("data")).expect("a rename within a folder");
    };
    link("0");
    let config = TlsConfig::from_files(folder.path("data/tls.pem"), folder.path("data/tls.key"));
    let mut watch = Watch::new(config.expect("a chain and its key"));
    link("1");
    assert!(!watch.poll() && watch.poll());
    assert_eq!(handshake(watch.config(), &ca.client(), "a.example").certificate(), der(&identities[1]));
}

#[test]
fn a_defective_file_keeps_the_present_configuration() {
    let files = Files::new();
    let mut watch = Watch::new(files.config.clone());
    let other = files.ca.intermediate.issue(&["a.example"]);
    let defects: [(&str, &dyn Fn()); 4] = [
        ("another key", &|| drop(files.folder.write("a.key", &other.key))),
        ("an empty file", &|| drop(files.folder.write("a.pem", ""))),
        ("no file", &|| std::fs::remove_file(files.folder.path("a.pem")).expect("a file")),
        ("a cut file", &|| drop(files.folder.write("a.pem", &files.first.certificate[..100]))),
    ];
    for (defect, make) in defects {
        make();
        assert!(!watch.poll() && !watch.poll(), "{defect}");
        assert!(!watch.load(), "{defect}");
        files.expect(watch.config(), &files.first);
    }
    let second = files.renew();
    assert!(!watch.poll() && watch.poll(), "the files are valid again");
    files.expect(watch.config(), &second);
}

#[test]
fn tickets_survive_a_reload() {
    let files = Files::new();
    let mut watch = Watch::new(files.config.clone());
    let client = files.ca.client();
    assert!(!handshake(watch.config(), &client, "a.example").resumed());
    files.renew();
    assert!(watch.load());
    assert!(handshake(watch.config(), &client, "a.example").resumed());
}

#[test]
fn tickets_do_not_survive_a_change_of_the_client_ca() {
    let files = Files::new();
    let clients = files.folder.write("clients.pem", files.ca.root.pem());
    let config = files.config.clone().client_ca_file(clients, ClientAuth::Required).expect("a root");
    let mut watch = Watch::new(config);
    let identity = files.ca.intermediate.sign(&Leaf::new(&["client.example"]).client());
    let client: ClientTls = files.ca.client();
    let client = client.identity_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a pair");
    assert!(!handshake(watch.config(), &client, "a.example").resumed());
    assert!(watch.load());
    assert!(handshake(watch.config(), &client, "a.example").resumed(), "the CA is the same");
    files.folder.write("clients.pem", Authority::root("Other Root").pem());
    assert!(!watch.poll() && watch.poll());
    let ended = handshake(watch.config(), &client, "a.example");
    assert_eq!(ended.server_says(), "the certificate of the client is not from a CA of --tls-client-ca");
}

/// A channel of published configurations.
fn publisher() -> (impl FnMut(&TlsConfig) -> bool + Send + 'static, Receiver<TlsConfig>) {
    let (published, receiver) = mpsc::channel();
    let publish = move |config: &TlsConfig| {
        // Without a receiver, the test has ended.
        let _ = published.send(config.clone());
        true
    };
    (publish, receiver)
}

#[test]
fn the_thread_reloads_on_request() {
    let files = Files::new();
    let (publish, published) = publisher();
    let reload = TlsReload::start(files.config.clone(), publish).expect("a thread");
    let second = files.renew();
    reload.reload();
    files.expect(&published.recv_timeout(WATCHDOG).expect("a configuration"), &second);
    // Nothing is published for a defect, and the next request succeeds.
    files.folder.write("a.pem", "");
    reload.reload();
    let third = files.renew();
    reload.reload();
    // The second request may also be served by the reading of the first.
    files.expect(&published.recv_timeout(WATCHDOG).expect("a configuration"), &third);
    drop(reload);
}

#[test]
fn the_thread_reloads_changed_files() {
    let files = Files::new();
    let (publish, published) = publisher();
    let reload = TlsReload::start_with(files.config.clone(), Duration::from_millis(5), publish).expect("a thread");
    let second = files.renew();
    files.expect(&published.recv_timeout(WATCHDOG).expect("a configuration"), &second);
    drop(reload);
    // The thread has ended, and with it the sender.
    assert!(published.iter().next().is_none());
}

#[test]
fn the_thread_publishes_again_what_was_not_published() {
    let files = Files::new();
    let (mut publish, published) = publisher();
    let mut attempts = 0;
    let third_time = move |config: &TlsConfig| {
        attempts += 1;
        publish(config) && attempts >= 3
    };
    let reload = TlsReload::start_with(files.config.clone(), Duration::from_millis(5), third_time).expect("a thread");
    let second = files.renew();
    for _ in 0..3 {
        files.expect(&published.recv_timeout(WATCHDOG).expect("a configuration"), &second);
    }
    drop(reload);
    assert!(published.iter().next().is_none());
}

#[test]
fn bytes_are_not_watched() {
    let ca = Ca::new();
    let mut watch = Watch::new(ca.server(&["a.example"]));
    assert!(!watch.poll() && !watch.poll());
    let none: Vec<PathBuf> = Vec::new();
    assert_eq!(watch.config().files(), none);
}
