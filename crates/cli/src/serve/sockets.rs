//! Where the sockets come from that `serve` listens on: the command line, a service manager, or the
//! former server of a hand-over.

use crate::arguments::Serve;
use crate::exit::Failure;
use crate::listening::{self, Place};
use ringway::handover::Predecessor;
use ringway::{Address, Scheme, Server, TlsConfig};
use std::fmt::Display;
use std::os::fd::OwnedFd;

/// Where the sockets of a server come from.
pub(super) enum Origin {
    /// `--listen`.
    Listen,
    /// A service manager.
    Inherited,
    /// The former server, with its addresses.
    TakenOver(Vec<Address>),
}

/// Opens the sockets, or takes them over.
///
/// Those of a service manager are used instead of `--listen`, whether this process has got them or the
/// former server. Of the other sockets of a former server, those for the addresses of `--listen` are
/// used, or all of them without `--listen`.
pub(super) fn open(
    arguments: &Serve,
    listeners: &[(Scheme, Place)],
    inherited: Vec<OwnedFd>,
    tls: Option<&TlsConfig>,
    predecessor: Option<&mut Predecessor>,
) -> Result<(Server, Origin), Failure> {
    let listen = |server| {
        let server = arguments.listen.listen(server, listeners, tls)?;
        server.ok_or_else(|| Failure("no address to listen on".into()))
    };
    let Some(predecessor) = predecessor else {
        return Ok(match inherited.is_empty() {
            true => (listen(None)?, Origin::Listen),
            false => (listening::inherit(None, inherited, tls)?, Origin::Inherited),
        });
    };
    let origin = Origin::TakenOver(predecessor.addresses());
    let server = if !inherited.is_empty() {
        listening::inherit(Some(Server::taking_over(predecessor)?), inherited, tls)?
    } else if takes_all(arguments, predecessor) {
        Server::from_predecessor(predecessor, tls)?
    } else {
        listen(Some(Server::taking_over(predecessor)?))?
    };
    Ok((server, origin))
}

/// Whether all sockets of the former server are used, as they are.
fn takes_all(arguments: &Serve, predecessor: &Predecessor) -> bool {
    predecessor.is_activated() || !arguments.listen.is_given()
}

/// The contradiction between the certificates and the sockets of the former server, if all of them are
/// used.
pub(super) fn tls_error(arguments: &Serve, predecessor: &Predecessor) -> Option<&'static str> {
    match (predecessor.has_tls(), arguments.tls.tls_cert.is_empty()) {
        _ if !takes_all(arguments, predecessor) => None,
        (true, true) => Some("the server to take over from serves wss://: give --tls-cert and --tls-key"),
        (false, false) => Some(
            "--tls-cert is given, but every address of the server to take over from is without TLS: give --listen \
             wss://ADDR:PORT, or omit --tls-cert",
        ),
        _ => None,
    }
}

impl Origin {
    /// What to print about it for a server with these addresses; nothing for `--listen`.
    pub(super) fn describe(&self, own: &[Address]) -> Option<String> {
        let former = match self {
            Self::Listen => return None,
            Self::Inherited => return Some("inherited (LISTEN_FDS), used instead of --listen".into()),
            Self::TakenOver(former) => former,
        };
        let among = |these: &[Address], others: &[Address], wanted: bool| {
            list(these.iter().filter(|address| others.contains(address) == wanted))
        };
        let mut text = match among(own, former, true) {
            None => "none taken over from the former server (--handover)".to_owned(),
            Some(taken) => format!("taken over from the former server (--handover): {taken}"),
        };
        if let Some(opened) = among(own, former, false) {
            text += &format!("; opened: {opened}");
        }
        if let Some(closed) = among(former, own, false) {
            text += &format!("; closed: {closed}");
        }
        Some(text)
    }
}

fn list<T: Display>(items: impl Iterator<Item = T>) -> Option<String> {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    (!items.is_empty()).then(|| items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| Address::Tcp(text.parse().expect("an address"))).collect()
    }

    #[test]
    fn the_line_names_what_is_taken_over_opened_and_closed() {
        let line = |former: &[&str], own: &[&str]| {
            Origin::TakenOver(addresses(former)).describe(&addresses(own)).expect("a line")
        };
        let (a, b) = ("127.0.0.1:1", "127.0.0.1:2");
        assert_eq!(line(&[a, b], &[a, b]), "taken over from the former server (--handover): 127.0.0.1:1, 127.0.0.1:2");
        assert_eq!(
            line(&[a], &[b]),
            "none taken over from the former server (--handover); opened: 127.0.0.1:2; closed: 127.0.0.1:1"
        );
        assert_eq!(Origin::Listen.describe(&addresses(&[a])), None);
    }
}
