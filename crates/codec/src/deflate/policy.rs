//! The preferences of one side, and the negotiation (RFC 7692 sections 5 and 7.1).

use super::{DeflateOffer, DeflateParams, WindowBits};
use crate::handshake::Extension;

/// The preferences of one side for compression, in either role. The default is the best
/// compression: context takeover and the largest windows in both directions.
///
/// ```
/// use ringway_codec::{DeflateOffer, DeflatePolicy};
///
/// let policy = DeflatePolicy { peer_takeover: false, ..DeflatePolicy::default() };
/// let params = policy.accept(&DeflateOffer::default()).expect("any offer with a large window is accepted");
/// assert_eq!(params.to_string(), "permessage-deflate; client_no_context_takeover");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflatePolicy {
    /// Whether sent messages may refer to earlier ones, if the peer allows it.
    pub takeover: bool,
    /// Whether received messages may refer to earlier ones, which costs a window for each
    /// connection.
    pub peer_takeover: bool,
    /// The largest window for sent messages; [`WindowBits::MIN`] counts as 9 bits.
    pub window_bits: WindowBits,
    /// The largest window that the peer is asked to compress with, where the standard permits the
    /// request; [`WindowBits::MIN`] counts as 9 bits, which peers with zlib use then. It saves
    /// memory at the peer, not at this endpoint.
    pub peer_window_bits: WindowBits,
}

impl Default for DeflatePolicy {
    fn default() -> Self {
        Self { takeover: true, peer_takeover: true, window_bits: WindowBits::MAX, peer_window_bits: WindowBits::MAX }
    }
}

impl DeflatePolicy {
    /// Returns a server's choice among the extensions of a request: the answer to the first offer
    /// that can be accepted.
    #[must_use]
    pub fn choose(&self, extensions: &[Extension<'_>]) -> Option<DeflateParams> {
        extensions.iter().filter_map(DeflateOffer::parse).find_map(|offer| self.accept(&offer))
    }

    /// Returns a server's answer to one offer; `None` declines it, because it requires a window
    /// that zlib cannot compress with.
    #[must_use]
    pub fn accept(&self, offer: &DeflateOffer) -> Option<DeflateParams> {
        let (ours, theirs) = self.windows();
        let window_bits = offer.server_max_window_bits.unwrap_or_default().min(ours);
        if !window_bits.is_deflatable() {
            return None;
        }
        // Section 7.1.2.2: a server may limit the window only of a client that offers it.
        let peer_window_bits = offer.client_max_window_bits.map(|most| most.min(theirs));
        Some(DeflateParams {
            server_no_context_takeover: offer.server_no_context_takeover || !self.takeover,
            client_no_context_takeover: offer.client_no_context_takeover || !self.peer_takeover,
            // Section 7.1.2.1: the answer must have the parameter if the offer has it.
            server_max_window_bits: (offer.server_max_window_bits.is_some() || window_bits < WindowBits::MAX)
                .then_some(window_bits),
            client_max_window_bits: peer_window_bits.filter(|&bits| bits < WindowBits::MAX),
        })
    }

    /// Returns a client's offers, the preferred one first. The second one is for servers that
    /// cannot limit their window.
    #[must_use]
    pub fn offers(&self) -> Vec<DeflateOffer> {
        let (ours, theirs) = self.windows();
        let first = DeflateOffer {
            server_no_context_takeover: !self.peer_takeover,
            client_no_context_takeover: !self.takeover,
            server_max_window_bits: (theirs < WindowBits::MAX).then_some(theirs),
            client_max_window_bits: Some(ours),
        };
        let mut offers = vec![first];
        if first.server_max_window_bits.is_some() {
            offers.push(DeflateOffer { server_max_window_bits: None, ..first });
        }
        offers
    }

    fn windows(&self) -> (WindowBits, WindowBits) {
        let least = WindowBits::MIN_DEFLATED;
        (self.window_bits.max(least), self.peer_window_bits.max(least))
    }
}

/// Checks the extensions of a response for a client, and returns the negotiated parameters, if any.
///
/// # Errors
///
/// The element that no offer admits: the client must fail the connection (RFC 6455 section 4.1, RFC
/// 7692 section 5.1).
pub(crate) fn verify<'b>(
    extensions: &[Extension<'b>],
    offers: &[DeflateOffer],
) -> Result<Option<DeflateParams>, &'b str> {
    let mut agreed = None;
    for extension in extensions {
        let params = DeflateParams::parse(extension)
            .filter(|params| agreed.is_none() && offers.iter().any(|offer| offer.admits(params)));
        agreed = Some(params.ok_or(extension.text)?);
    }
    Ok(agreed)
}
