//! The choice of a subprotocol (RFC 6455 section 1.9).

/// Returns the first of `offered`, the client's subprotocols in its order of preference, that is
/// one of `ours`. With `None`, the server sends no subprotocol, and the client may accept that or
/// close the connection (RFC 6455 section 4.2.2). Names are case-sensitive.
#[must_use]
pub fn choose_subprotocol<'o, 'a>(offered: impl IntoIterator<Item = &'o str>, ours: &'a [String]) -> Option<&'a str> {
    offered.into_iter().find_map(|offered| ours.iter().find(|our| *our == offered)).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{HeadLimits, parse_request};

    #[test]
    fn the_clients_order_decides() {
        let head = b"GET / HTTP/1.1\r\nSec-WebSocket-Protocol: soap, , chat\r\n\
                     sec-websocket-protocol: super chat,superchat\r\n\r\n";
        let (request, _) = parse_request(head, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["soap", "chat", "superchat"]);
        let ours = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(choose_subprotocol(request.subprotocols(), &ours(&["superchat", "chat"])), Some("chat"));
        assert_eq!(choose_subprotocol(request.subprotocols(), &ours(&["superchat"])), Some("superchat"));
        assert_eq!(choose_subprotocol(request.subprotocols(), &ours(&["CHAT", "super chat"])), None);
        assert_eq!(choose_subprotocol(request.subprotocols(), &[]), None);
    }
}
