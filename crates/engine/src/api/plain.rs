//! The connections of a client that do not speak the protocol of WebSockets: `tcp://` and `udp://`.

/// How bytes are exchanged without the protocol of WebSockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainKind {
    /// A stream of TCP: each input is a message.
    Stream,
    /// UDP: a datagram is a message.
    Datagrams,
}
