//! The addresses that `serve` listens on.

use crate::exit::Failure;
use crate::tls::ServeTls;
use crate::unix::{self, FileOwner};
use crate::values;
use clap::Args;
use ringway::{Scheme, Server, TlsConfig, UnixAddress};
use std::fmt;
use std::os::fd::OwnedFd;

/// The address without `--listen`.
const DEFAULT: &str = "127.0.0.1:9001";

/// An address to listen on, and what its clients speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    /// As written; without it, `--tls-cert` decides.
    scheme: Option<Scheme>,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An IP address or a name, with a port. The name is resolved later.
    Tcp(String),
    Unix(UnixAddress),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(address) => address.fmt(f),
        }
    }
}

/// Parses `ADDR:PORT`, `ws://ADDR:PORT`, `wss://ADDR:PORT` or `unix:PATH`.
pub(crate) fn listen_address(text: &str) -> Result<ListenAddress, String> {
    if text.starts_with("unix:") {
        let address = text.parse().map_err(|error| format!("{error}"))?;
        return Ok(ListenAddress { scheme: Some(Scheme::Ws), place: Place::Unix(address) });
    }
    let (scheme, address) = match text.split_once("://") {
        None => (None, text),
        Some((scheme, rest)) => {
            let scheme = match scheme.to_ascii_lowercase().as_str() {
                "ws" => Scheme::Ws,
                "wss" => Scheme::Wss,
                _ => return Err("give ws://ADDR:PORT, or wss://ADDR:PORT for TLS".into()),
            };
            (Some(scheme), rest.strip_suffix('/').unwrap_or(rest))
        }
    };
    let or_unix = |error| format!("{error}, or a path as unix:/run/app.sock");
    Ok(ListenAddress { scheme, place: Place::Tcp(values::listen(address).map_err(or_unix)?) })
}

/// Parses `ADDR:PORT` or `unix:PATH`, for `--admin`.
pub(crate) fn admin_address(text: &str) -> Result<String, String> {
    if text.starts_with("unix:") {
        return text.parse::<UnixAddress>().map(|_| text.to_owned()).map_err(|error| error.to_string());
    }
    values::listen(text).map_err(|error| format!("{error}, or a path as unix:/run/admin.sock"))
}

/// The options of `serve` for its addresses.
#[derive(Debug, Args)]
pub(crate) struct ListenOptions {
    /// Address to listen on; may be given several times. 0.0.0.0:80 is all of IPv4, `[::]:80` is
    /// all of IPv6, and only that. With --tls-cert it is TLS, unless written ws://ADDR:PORT;
    /// wss://ADDR:PORT is TLS. unix:/run/app.sock is a Unix socket, and unix:@app one with an
    /// abstract name, without TLS. The socket file of a server that is gone is replaced. Sockets
    /// that a service manager passes (LISTEN_FDS) are used instead [default: 127.0.0.1:9001]
    #[arg(short, long, value_name = "ADDR:PORT|unix:PATH", value_parser = listen_address)]
    pub(crate) listen: Vec<ListenAddress>,
    /// Permissions of the files of Unix sockets, as 660 [default: 777 without the bits of the
    /// umask]
    #[arg(long, value_name = "MODE", value_parser = unix::mode)]
    pub(crate) unix_mode: Option<u32>,
    /// Owner of the files of Unix sockets, as www-data:www-data or :www-data, by name or number
    /// [default: the process's user and group]
    #[arg(long, value_name = "USER:GROUP", value_parser = unix::owner)]
    pub(crate) unix_owner: Option<FileOwner>,
}

impl ListenOptions {
    /// What each address speaks. A bare address is TLS if there is a certificate.
    ///
    /// # Errors
    /// Text for the command line, if addresses, certificates and the options of Unix sockets do not fit
    /// together.
    pub(crate) fn listeners(&self, tls: &ServeTls) -> Result<Vec<(Scheme, Place)>, String> {
        let certificates = tls.tls_cert.len();
        let default = if certificates == 0 { Scheme::Ws } else { Scheme::Wss };
        let mut listeners: Vec<_> =
            self.listen.iter().map(|listen| (listen.scheme.unwrap_or(default), listen.place.clone())).collect();
        if listeners.is_empty() {
            listeners.push((default, Place::Tcp(DEFAULT.into())));
        }
        let secure = listeners.iter().find(|(scheme, _)| *scheme == Scheme::Wss);
        let has_unix = listeners.iter().any(|(_, place)| matches!(place, Place::Unix(_)));
        match secure {
        Some((_, place)) if certificates == 0 => {
            Err(format!("--listen wss://{place} needs a certificate: give --tls-cert and --tls-key"))
        }
        None if certificates > 0 => Err(
            "--tls-cert is given, but every --listen is without TLS: give one as wss://ADDR:PORT, or omit --tls-cert"
                .into(),
        ),
        _ if certificates != tls.tls_key.len() => Err(format!(
            "there are {certificates} --tls-cert and {} --tls-key: give one key for each certificate, in the same \
             order",
            tls.tls_key.len()
        )),
        _ if !has_unix && (self.unix_mode.is_some() || self.unix_owner.is_some()) => {
            Err("--unix-mode and --unix-owner are for Unix sockets; give one, as --listen unix:/run/app.sock".into())
        }
        _ => Ok(listeners),
    }
    }

    /// Whether an address is given.
    pub(crate) fn is_given(&self) -> bool {
        !self.listen.is_empty()
    }

    /// Listens on all addresses, beside those of a server; `None` if there are none.
    pub(crate) fn listen(
        &self,
        server: Option<Server>,
        listeners: &[(Scheme, Place)],
        tls: Option<&TlsConfig>,
    ) -> Result<Option<Server>, Failure> {
        listeners.iter().try_fold(server, |server, (scheme, place)| {
            let server = match (server, place) {
                (None, Place::Tcp(address)) => Server::bind(address.as_str())?,
                (Some(server), Place::Tcp(address)) => server.and_bind(address.as_str())?,
                (server, Place::Unix(address)) => {
                    let socket = unix::socket(address, self.unix_mode, self.unix_owner)?;
                    match server {
                        None => Server::bind_unix(&socket)?,
                        Some(server) => server.and_bind_unix(&socket)?,
                    }
                }
            };
            Ok(Some(match (tls, scheme) {
                (Some(tls), Scheme::Wss) => server.tls(tls),
                _ => server,
            }))
        })
    }
}

/// Serves on the sockets of another process, beside those of a server, with TLS if there is a
/// certificate.
pub(crate) fn inherit(
    server: Option<Server>,
    sockets: Vec<OwnedFd>,
    tls: Option<&TlsConfig>,
) -> Result<Server, Failure> {
    let server = match server {
        Some(server) => server.and_listeners(sockets)?,
        None => Server::from_listeners(sockets)?,
    };
    Ok(match tls {
        Some(tls) => server.tls(tls),
        None => server,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, CliCommand, Serve};
    use clap::Parser;

    fn serve(arguments: &[&str]) -> Result<Box<Serve>, clap::Error> {
        match Arguments::try_parse_from([&["ringway", "serve"], arguments].concat())?.command {
            CliCommand::Serve(serve) => Ok(serve),
            other => panic!("not serve: {other:?}"),
        }
    }

    /// The listeners of a command line, or its error.
    fn listeners_of(arguments: &[&str]) -> Result<Vec<String>, String> {
        let serve = serve(arguments).expect("valid flags");
        Ok(serve.listen.listeners(&serve.tls)?.iter().map(|(scheme, place)| format!("{scheme}://{place}")).collect())
    }

    #[test]
    fn an_address_is_plain_or_tls_as_written() {
        let pair = ["--tls-cert", "a.pem", "--tls-key", "a.key"];
        let with_pair = |listen: &[&'static str]| listeners_of(&[&pair[..], listen].concat());
        assert_eq!(listeners_of(&[]), Ok(vec!["ws://127.0.0.1:9001".into()]));
        assert_eq!(with_pair(&[]), Ok(vec!["wss://127.0.0.1:9001".into()]), "a bare address is TLS");
        let both = with_pair(&["-l", "wss://[::]:443/", "-l", "WS://localhost:80", "-l", "127.0.0.1:9001"]);
        assert_eq!(both, Ok(vec!["wss://[::]:443".into(), "ws://localhost:80".into(), "wss://127.0.0.1:9001".into()]));
        assert_eq!(
            listeners_of(&["-l", "wss://127.0.0.1:443"]),
            Err("--listen wss://127.0.0.1:443 needs a certificate: give --tls-cert and --tls-key".into())
        );
        for plain in ["ws://127.0.0.1:80", "unix:/run/app.sock"] {
            let error = with_pair(&["-l", plain]).expect_err("no listener uses the certificate");
            assert!(error.starts_with("--tls-cert is given, but every --listen is without TLS"), "{error}");
        }
        for bad in ["http://127.0.0.1:80", "wss://127.0.0.1", "wss://", "ws://:80", "127.0.0.1:80/"] {
            assert!(serve(&["-l", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_that_of_tcp_or_a_path() {
        assert_eq!(listen_address("localhost:80").expect("valid").place, Place::Tcp("localhost:80".into()));
        for text in ["unix:/run/app.sock", "unix:app", "unix:@app"] {
            assert_eq!(listen_address(text).expect("valid").place.to_string(), text);
        }
        assert!(listen_address("unix:").is_err_and(|error| error.contains("is empty")));
        let error = listen_address("/run/app.sock").expect_err("no scheme");
        assert!(error.ends_with("or a path as unix:/run/app.sock"), "{error}");
        let long = format!("unix:{}", "a".repeat(108));
        assert!(listen_address(&long).is_err_and(|error| error.contains("at most 107 bytes")));
    }

    #[test]
    fn options_of_unix_sockets_need_one() {
        let error = listeners_of(&["--unix-mode", "660"]).expect_err("no Unix socket");
        assert!(error.starts_with("--unix-mode and --unix-owner are for Unix sockets"), "{error}");
        assert!(listeners_of(&["--unix-mode", "660", "-l", "unix:/run/app.sock"]).is_ok());
    }

    #[test]
    fn each_certificate_has_a_key() {
        let error = listeners_of(&["--tls-cert", "a", "--tls-cert", "b", "--tls-key", "c"]).expect_err("one key");
        assert_eq!(
            error,
            "there are 2 --tls-cert and 1 --tls-key: give one key for each certificate, in the same order"
        );
    }
}
