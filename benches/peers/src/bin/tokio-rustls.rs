//! Echo on tokio-websockets over TLS, on tokio-rustls with the provider of Ringway.
//!
//! Tickets are as those of Ringway: stateless, one for each handshake. `--default-tickets` keeps
//! the defaults of rustls instead: two tickets, and a cache of 256 sessions in the server.

use ringway_peers::{accept, echo_tokio_websockets, run_on};
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

const USAGE: &str = "usage: tokio-rustls CERTIFICATE KEY PORT [--default-tickets]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (certificate, key, port, has_default_tickets) = match &arguments[..] {
        [certificate, key, port] => (certificate, key, port, false),
        [certificate, key, port, flag] if flag == "--default-tickets" => (certificate, key, port, true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Ok(port) = port.parse() else {
        eprintln!("the port {port:?} is not a number from 0 to 65535; {USAGE}");
        return ExitCode::from(2);
    };
    let acceptor = match config(certificate, key, has_default_tickets) {
        Ok(config) => TlsAcceptor::from(Arc::new(config)),
        Err(error) => {
            eprintln!("tokio-rustls: {certificate}, {key}: {error}");
            return ExitCode::FAILURE;
        }
    };
    run_on("tokio-rustls", port, |listener| {
        accept(listener, move |stream| {
            let acceptor = acceptor.clone();
            async move { echo_tokio_websockets(acceptor.accept(stream).await?).await }
        })
    })
}

fn config(certificate: &str, key: &str, has_default_tickets: bool) -> Result<ServerConfig, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !has_default_tickets {
        config.ticketer = Ticketer::new()?;
        config.send_tls13_tickets = 1;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(config)
}
