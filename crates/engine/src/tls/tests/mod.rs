//! Tests of the configuration of TLS: handshakes of rustls in memory with these configurations.

mod authentication;
mod errors;
mod explanations;
mod handshakes;
mod logs;
mod reload;

use super::{ClientTls, TlsConfig, explain};
use ringway_codec::Role;
use ringway_testkit::certificates::{Authority, Identity};
use rustls::client::{ClientConfig, ClientConnection};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConfig, ServerConnection};
use rustls::{Error, HandshakeKind};
use std::sync::Arc;

/// A root with an intermediate.
struct Ca {
    root: Authority,
    intermediate: Authority,
}

impl Ca {
    fn new() -> Self {
        Self::named("Test")
    }

    fn named(name: &str) -> Self {
        let root = Authority::root(&format!("{name} Root"));
        let intermediate = root.intermediate(&format!("{name} Intermediate"));
        Self { root, intermediate }
    }

    /// A server with a certificate for these names.
    fn server(&self, names: &[&str]) -> TlsConfig {
        server(&self.intermediate.issue(names))
    }

    /// A client that trusts this root only.
    fn client(&self) -> ClientTls {
        ClientTls::with_ca_pem(self.root.pem().as_bytes()).expect("a root")
    }
}

fn server(identity: &Identity) -> TlsConfig {
    TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a valid chain and its key")
}

/// A server of rustls with any chain and key, without the checks of [`TlsConfig`].
fn unchecked_server(chain: &str, key: &Identity) -> Arc<ServerConfig> {
    let provider = super::provider();
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|der| der.expect("PEM")).collect();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.key.as_bytes()).expect("a key");
    let key = provider.key_provider.load_private_key(key).expect("a kind of key that the provider supports");
    let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("the default versions").with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    Arc::new(config)
}

/// Both ends of a handshake that has ended, and the errors of each.
struct Handshake {
    client: ClientConnection,
    server: ServerConnection,
    client_error: Option<Error>,
    server_error: Option<Error>,
    name: String,
}

/// Runs a handshake to a host of this name.
fn handshake(server: &TlsConfig, client: &ClientTls, host: &str) -> Handshake {
    let name = client.server_name(host).expect("a valid name");
    run(server.rustls(), client.rustls(), name)
}

fn run(server: Arc<ServerConfig>, client: Arc<ClientConfig>, name: ServerName<'static>) -> Handshake {
    Handshake::new(server, client, name).complete()
}

impl Handshake {
    /// A handshake that has not begun to exchange bytes.
    fn new(server: Arc<ServerConfig>, client: Arc<ClientConfig>, name: ServerName<'static>) -> Self {
        let text = name.to_str().into_owned();
        let client = ClientConnection::new(client, name).expect("a valid configuration");
        let server = ServerConnection::new(server).expect("a valid configuration");
        Self { client, server, client_error: None, server_error: None, name: text }
    }

    /// Exchanges bytes until neither end has any.
    fn complete(mut self) -> Self {
        while self.turn() {}
        self
    }

    /// Moves the output of each end to the other. Returns whether there was any.
    fn turn(&mut self) -> bool {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).expect("a vector takes all");
        }
        let mut moved = !bytes.is_empty();
        let mut input = &bytes[..];
        while !input.is_empty() && self.server_error.is_none() {
            self.server.read_tls(&mut input).expect("a slice");
            self.server_error = self.server.process_new_packets().err();
        }
        bytes.clear();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).expect("a vector takes all");
        }
        moved |= !bytes.is_empty();
        let mut input = &bytes[..];
        while !input.is_empty() && self.client_error.is_none() {
            self.client.read_tls(&mut input).expect("a slice");
            self.client_error = self.client.process_new_packets().err();
        }
        moved
    }

    /// The certificate that the client received, if the handshake succeeded.
    fn certificate(&self) -> CertificateDer<'static> {
        self.expect();
        self.client.peer_certificates().expect("a server has a certificate")[0].clone().into_owned()
    }

    /// Fails the test unless both ends completed the handshake.
    fn expect(&self) {
        assert_eq!((&self.client_error, &self.server_error), (&None, &None));
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
    }

    /// Whether the session was resumed; both ends agree.
    fn resumed(&self) -> bool {
        self.expect();
        let kind = self.client.handshake_kind();
        assert_eq!(kind, self.server.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    /// The explanation of the client's error.
    fn client_says(&self) -> String {
        let error = self.client_error.as_ref().expect("the client rejects the handshake");
        explain(error, Role::Client, Some(&self.name))
    }

    /// The explanation of the server's error.
    fn server_says(&self) -> String {
        explain(self.server_error.as_ref().expect("the server rejects the handshake"), Role::Server, None)
    }
}

/// The first certificate of an identity.
fn der(identity: &Identity) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate")
}
