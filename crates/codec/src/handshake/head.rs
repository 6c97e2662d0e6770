//! The common parts of requests and responses: limits, header fields, and the scan of a growing
//! head.

use std::mem::MaybeUninit;

/// Limits on the head of a request or response.
///
/// ```
/// use ringway_codec::{HeadLimits, parse_request};
///
/// let limits = HeadLimits { max_headers: 1, ..HeadLimits::default() };
/// let refusal = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n", &limits).unwrap_err();
/// assert_eq!(refusal.status, 431);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// The maximum length of the head in bytes, including the blank line; default 16 KiB.
    pub max_bytes: usize,
    /// The maximum number of header fields; default 100. More than 128 counts as 128.
    pub max_headers: usize,
}

/// The maximum of `max_headers`: the slots are on the stack.
pub(super) const MAX_HEADERS: usize = 128;

pub(super) type HeaderSlots<'b> = [MaybeUninit<httparse::Header<'b>>; MAX_HEADERS];

/// Empty slots. Costs nothing: nothing is written until a header is parsed.
pub(super) const fn header_slots<'b>() -> HeaderSlots<'b> {
    [const { MaybeUninit::uninit() }; MAX_HEADERS]
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_bytes: 16 * 1024, max_headers: 100 }
    }
}

impl HeadLimits {
    /// The prefix of `bytes` that a head may occupy.
    pub(super) fn allowed<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[..bytes.len().min(self.max_bytes)]
    }

    pub(super) fn slots<'t, 'b>(&self, slots: &'t mut HeaderSlots<'b>) -> &'t mut [MaybeUninit<httparse::Header<'b>>] {
        &mut slots[..self.max_headers.min(MAX_HEADERS)]
    }
}

/// Detects when a head that arrives in pieces can be parsed. 12 bytes.
///
/// A head that arrives byte by byte must not be parsed once per byte. The scan reads every byte
/// once, to find the blank line that ends the head. It also requests a parse at the first byte and
/// whenever the length has doubled, so that garbage is detected early while the total cost stays
/// linear.
///
/// ```
/// use ringway_codec::{HeadLimits, HeadScan};
///
/// let mut scan = HeadScan::new(&HeadLimits::default());
/// assert!(scan.push(b"G"), "the first byte may be wrong already");
/// assert!(!scan.push(b"GET / HTTP/1.1\r\n"));
/// assert!(scan.push(b"GET / HTTP/1.1\r\n\r\n"), "the head is complete");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct HeadScan {
    looked: u32,
    /// The length at which the next parse is due.
    due: u32,
    limit: u32,
}

impl HeadScan {
    /// Creates a scan for the start of a head.
    #[must_use]
    pub fn new(limits: &HeadLimits) -> Self {
        Self { looked: 0, due: 1, limit: u32::try_from(limits.max_bytes).unwrap_or(u32::MAX) }
    }

    /// Takes all bytes of the head received so far, those of earlier calls included, and returns
    /// whether to parse it: it is complete, it exceeds the limit, this is the first call, or its
    /// length has doubled since the last parse.
    #[must_use]
    pub fn push(&mut self, head: &[u8]) -> bool {
        // The end is LF LF or LF CR LF, of which earlier calls may have had up to two bytes.
        let from = (self.looked as usize).saturating_sub(2).min(head.len());
        let fresh = &head[from..];
        let ended = fresh
            .iter()
            .enumerate()
            .any(|(at, &byte)| byte == b'\n' && matches!(&fresh[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]));
        self.looked = u32::try_from(head.len()).unwrap_or(u32::MAX);
        let worthwhile = ended || self.looked >= self.due || self.looked >= self.limit;
        if worthwhile {
            self.due = self.looked.saturating_mul(2).max(64);
        }
        worthwhile
    }
}

/// The header fields of a parsed head, borrowed from its bytes.
///
/// ```
/// use ringway_codec::{HeadLimits, Key, ResponseExpectation, encode_accept, parse_response};
///
/// let expected = ResponseExpectation { key: [7; 16], subprotocols: &[], deflate: &[] };
/// let mut head = Vec::new();
/// encode_accept(&Key::from_nonce([7; 16]), None, None, &http::HeaderMap::new(), &mut head);
/// let (response, _) = parse_response(&head, &HeadLimits::default(), &expected)?.expect("the head is complete");
/// assert_eq!(response.headers.first("UPGRADE"), Some(&b"websocket"[..]));
/// # Ok::<(), ringway_codec::HandshakeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Headers<'b>(Box<[httparse::Header<'b>]>);

impl<'b> Headers<'b> {
    /// One allocation for the fields present: moving the slots on the stack would copy 4 KiB.
    pub(super) fn new(parsed: &[httparse::Header<'b>]) -> Self {
        Self(parsed.into())
    }

    /// The value of the first field with this name (ASCII case-insensitive), without surrounding
    /// white space.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'b [u8]> {
        self.all(name).next()
    }

    /// The values of all fields with this name, in the order received.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.0.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// All fields, name and value, in the order received.
    pub fn iter(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.0.iter().map(|field| (field.name, field.value))
    }

    /// The elements of a comma-separated list (RFC 9110 section 5.6.1) over all fields with this
    /// name. Elements that are empty or not UTF-8 are omitted.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &'b str> {
        self.all(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .filter_map(|element| std::str::from_utf8(element).ok())
            .map(|element| element.trim_matches([' ', '\t']))
            .filter(|element| !element.is_empty())
    }

    /// Whether a list, if present, consists of at least one token and nothing else: `1#token` in
    /// RFC 9110 section 5.6.1.
    pub(super) fn is_token_list(&self, name: &str) -> bool {
        let mut elements = self.all(name).flat_map(|value| value.split(|&byte| byte == b',')).peekable();
        let absent = elements.peek().is_none();
        let mut tokens = 0;
        for element in elements {
            match std::str::from_utf8(element).map(|element| element.trim_matches([' ', '\t'])) {
                Ok("") => {}
                Ok(element) if is_token(element) => tokens += 1,
                _ => return false,
            }
        }
        absent || tokens > 0
    }

    /// Whether a list contains this element, ASCII case-insensitively.
    pub(super) fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }
}

/// Whether `text` is a token (RFC 9110 section 5.6.2), the syntax of names of subprotocols and
/// header fields.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] =
        b"GET / HTTP/1.1\r\nHost: example.com\r\nCookie: some=thing\r\nAccept: nothing in particular\r\n\r\n";

    #[test]
    fn a_head_that_comes_byte_by_byte_is_parsed_a_few_times_and_at_its_end() {
        let mut scan = HeadScan::new(&HeadLimits::default());
        let asked: Vec<usize> = (1..=HEAD.len()).filter(|&len| scan.push(&HEAD[..len])).collect();
        assert_eq!(asked, [1, 64, HEAD.len()]);
    }

    #[test]
    fn the_end_is_found_wherever_the_head_is_cut() {
        for end in [&b"\r\n\r\n"[..], b"\n\n", b"\n\r\n"] {
            let head = [b"GET / HTTP/1.1\r\nHost: h", end].concat();
            for cut in 1..head.len() {
                let mut scan = HeadScan::new(&HeadLimits::default());
                assert!(scan.push(&head[..cut]), "the first bytes are worth a look");
                assert!(scan.push(&head), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_head_over_the_limit_is_worth_parsing_to_be_refused() {
        let mut scan = HeadScan::new(&HeadLimits { max_bytes: 100, max_headers: 10 });
        assert!(scan.push(&[b'a'; 70]));
        assert!(!scan.push(&[b'a'; 99]));
        assert!(scan.push(&[b'a'; 100]));
    }

    #[test]
    fn a_scan_survives_input_that_shrinks() {
        let mut scan = HeadScan::new(&HeadLimits::default());
        assert!(scan.push(HEAD));
        assert!(!scan.push(b""));
    }

    #[test]
    fn a_scan_is_small() {
        assert!(size_of::<HeadScan>() <= 16);
    }

    #[test]
    fn tokens_have_no_separators() {
        assert!(is_token("chat.v1+json"));
        for bad in ["", "a b", "a,b", "a\r\n", "ü", "a/b"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
