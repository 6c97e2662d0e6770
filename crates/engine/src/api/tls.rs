//! What a TLS handshake has agreed on.

use crate::tls::stream::TlsStream;
use crate::tls::{ServedCertificate, TlsVersion};
use rustls::ProtocolVersion;
use std::fmt;

/// The TLS session of a connection: what its handshake has agreed on.
///
/// ```
/// use ringway::{Connection, Handler, Message, Request, StatusCode, Upgrade};
///
/// struct Members;
///
/// impl Handler for Members {
///     /// The DER encoding of the client's certificate.
///     type State = Vec<u8>;
///
///     fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<Vec<u8>> {
///         match request.tls().and_then(|tls| tls.peer_certificates().next()) {
///             Some(certificate) => Upgrade::accept(certificate.to_vec()),
///             None => Upgrade::reject(StatusCode::FORBIDDEN, "a client certificate is needed"),
///         }
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         conn.reply(message);
///     }
/// }
/// # let _ = Members;
/// ```
#[derive(Clone, Copy)]
pub struct TlsSession<'a>(&'a TlsStream);

impl<'a> TlsSession<'a> {
    pub(crate) fn new(stream: &'a TlsStream) -> Self {
        Self(stream)
    }

    /// The version; `None` before the handshake is complete.
    #[must_use]
    pub fn version(&self) -> Option<TlsVersion> {
        match self.0.version()? {
            ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
            ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    /// The name of the cipher suite (RFC 8446 appendix B.4), such as `TLS13_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn cipher_suite(&self) -> Option<&'static str> {
        self.0.cipher_suite()?.suite().as_str()
    }

    /// The application protocol (ALPN, RFC 7301); `None` if the peer has offered none.
    #[must_use]
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.0.alpn_protocol()
    }

    /// Whether an earlier session was resumed, so that no certificate was sent.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.0.is_resumed()
    }

    /// The verified certificates of the peer in DER (RFC 5280), its own first; none if it has sent
    /// none. A resumed session has those of its first connection.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.as_ref())
    }

    /// The names and the expiry of the peer's own certificate, to print them. `None` if it has sent
    /// none, or one that cannot be parsed.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<ServedCertificate> {
        ServedCertificate::parse(self.peer_certificates().next()?)
    }
}

impl fmt::Debug for TlsSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession")
            .field("version", &self.version())
            .field("cipher_suite", &self.cipher_suite())
            .field("resumed", &self.is_resumed())
            .finish_non_exhaustive()
    }
}
