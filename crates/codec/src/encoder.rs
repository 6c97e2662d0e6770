//! Encodes frames (RFC 6455 sections 5.2 and 6.1). Every message is one frame; the encoder does not
//! fragment.

use crate::close::{CloseCode, ClosePayload, CodeNotSendable};
use crate::decoder::MessageKind;
use crate::deflate::Deflater;
use crate::frame::{Header, OpCode, payload_of, server_header};
use crate::mask;

/// Appends a whole unmasked frame, as a server sends it. One copy of the payload.
///
/// The caller ensures that the content conforms to RFC 6455: UTF-8 in text, at most 125 bytes in a
/// control frame.
#[inline]
pub fn encode_server(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload.len() <= 125, "control frames hold at most 125 bytes");
    let (header, len) = server_header(opcode, payload.len());
    out.reserve(len + payload.len());
    out.extend_from_slice(&header[..len]);
    out.extend_from_slice(payload);
}

/// Appends a whole frame masked with `key`, as a client sends it. One copy of the payload.
///
/// `key` must be fresh and unpredictable for each frame (RFC 6455 section 5.3). The caller ensures
/// valid content as in [`encode_server`].
#[inline]
pub fn encode_client(opcode: OpCode, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload.len() <= 125, "control frames hold at most 125 bytes");
    let mut bytes = [0; Header::MAX_LEN];
    let header = Header { fin: true, opcode, rsv1: false, mask: Some(key), length: payload.len() as u64 };
    let len = header.encode(&mut bytes);
    out.reserve(len + payload.len());
    out.extend_from_slice(&bytes[..len]);
    mask::append(out, payload, key, 0);
}

/// Appends a whole frame whose payload is `head` and `body`, one after the other: masked with `key`
/// as a client sends it, or unmasked as a server does. One copy of each part.
///
/// `key` and the content are as in [`encode_client`].
///
/// ```
/// use ringway_codec::{OpCode, encode_client, encode_parts};
///
/// let (mut parts, mut whole) = (Vec::new(), Vec::new());
/// encode_parts(OpCode::Binary, b"abc", b"defgh", Some([1, 2, 3, 4]), &mut parts);
/// encode_client(OpCode::Binary, b"abcdefgh", [1, 2, 3, 4], &mut whole);
/// assert_eq!(parts, whole);
/// ```
pub fn encode_parts(opcode: OpCode, head: &[u8], body: &[u8], key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let length = head.len() + body.len();
    debug_assert!(!opcode.is_control() || length <= 125, "control frames hold at most 125 bytes");
    let mut bytes = [0; Header::MAX_LEN];
    let len = Header { fin: true, opcode, rsv1: false, mask: key, length: length as u64 }.encode(&mut bytes);
    out.reserve(len + length);
    out.extend_from_slice(&bytes[..len]);
    match key {
        Some(key) => {
            mask::append(out, head, key, 0);
            mask::append(out, body, key, head.len());
        }
        None => {
            out.extend_from_slice(head);
            out.extend_from_slice(body);
        }
    }
}

/// Appends a message as one compressed frame, for a connection that has negotiated it (RFC 7692
/// section 7.2.1): masked with `key` as a client sends it, or unmasked as a server does.
///
/// Without `takeover` the message is compressed by itself, and is sent uncompressed if that is not
/// longer. With `takeover`, `deflater` must belong to the connection, and its messages must be sent
/// in the order in which it compresses them.
pub fn encode_deflated(
    kind: MessageKind,
    payload: &[u8],
    key: Option<[u8; 4]>,
    deflater: &mut Deflater,
    takeover: bool,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let opcode = OpCode::from(kind);
    let mut header = Header { fin: true, opcode, rsv1: true, mask: key, length: payload.len() as u64 };
    // The header depends on the compressed length. Most often its length is that of the
    // uncompressed message's header.
    let guess = header.encoded_len();
    out.resize(start + guess, 0);
    if !takeover {
        deflater.restart();
    }
    deflater.compress(payload, takeover, out);
    let length = out.len() - start - guess;
    if !takeover && length >= payload.len() {
        out.truncate(start);
        return match key {
            Some(key) => encode_client(opcode, payload, key, out),
            None => encode_server(opcode, payload, out),
        };
    }
    header.length = length as u64;
    let mut bytes = [0; Header::MAX_LEN];
    let len = header.encode(&mut bytes);
    if len != guess {
        out.resize((start + len + length).max(out.len()), 0);
        out.copy_within(start + guess..start + guess + length, start + len);
        out.truncate(start + len + length);
    }
    out[start..start + len].copy_from_slice(&bytes[..len]);
    if let Some(key) = key {
        mask::apply(&mut out[start + len..], key, 0);
    }
}

/// Appends a copy of a whole unmasked frame, masked with `key` as a client sends it.
pub fn encode_masked(frame: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    let payload = payload_of(frame);
    let (header, _) = frame.split_at(frame.len() - payload.len());
    let [first, second, length @ ..] = header else { return };
    out.reserve(frame.len() + 4);
    out.extend_from_slice(&[*first, *second | 0x80]);
    out.extend_from_slice(length);
    out.extend_from_slice(&key);
    mask::append(out, payload, key, 0);
}

/// Returns the payload of a close frame, for either role to encode: the code, and the reason cut to
/// 123 bytes at a character boundary. [`ClosePayload::EMPTY`] has no code.
///
/// # Errors
///
/// A code that must not be sent, such as 1005 or 1006 (RFC 6455 section 7.4.1).
#[inline]
pub fn encode_close(code: CloseCode, reason: &str) -> Result<ClosePayload, CodeNotSendable> {
    ClosePayload::new(code, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_5_7_the_examples_of_the_standard() {
        let mut out = Vec::new();
        encode_server(OpCode::Text, b"Hello", &mut out);
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

        out.clear();
        encode_client(OpCode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d], &mut out);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);

        out.clear();
        encode_server(OpCode::Binary, &[7; 256], &mut out);
        assert_eq!(out[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(out[4..], [7; 256]);

        out.clear();
        encode_server(OpCode::Binary, &[7; 65536], &mut out);
        assert_eq!(out[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_masked_copy_equals_a_client_frame() {
        for len in [0, 5, 125, 126, 65535, 65536] {
            let (mut frame, mut masked, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            encode_server(OpCode::Binary, &vec![7; len], &mut frame);
            encode_masked(&frame, [1, 2, 3, 4], &mut masked);
            encode_client(OpCode::Binary, &vec![7; len], [1, 2, 3, 4], &mut expected);
            assert_eq!(masked, expected, "{len}");
        }
    }

    #[test]
    fn a_frame_in_parts_equals_the_whole_frame() {
        let payload: Vec<u8> = (0..70_000_u32).map(|n| (n * 7) as u8).collect();
        for len in [0, 1, 5, 40, 125, 126, 300, 65_535, 65_536] {
            for head in [0, 1, 2, 3, 4, 8, 13, 64, len] {
                let (head, body) = payload[..len].split_at(head.min(len));
                for key in [None, Some([0xa1, 2, 0x83, 4])] {
                    let (mut parts, mut whole) = (b"before".to_vec(), b"before".to_vec());
                    encode_parts(OpCode::Binary, head, body, key, &mut parts);
                    match key {
                        None => encode_server(OpCode::Binary, &payload[..len], &mut whole),
                        Some(key) => encode_client(OpCode::Binary, &payload[..len], key, &mut whole),
                    }
                    assert!(parts == whole, "{len} bytes, of which the head has {}", head.len());
                }
            }
        }
    }

    #[test]
    fn frames_are_appended_after_existing_bytes() {
        let mut out = b"before".to_vec();
        encode_server(OpCode::Pong, b"", &mut out);
        assert_eq!(out, b"before\x8a\x00");
    }

    #[test]
    fn a_close_payload_is_code_and_reason() {
        let payload = encode_close(CloseCode::GOING_AWAY, "bye").unwrap();
        assert_eq!(payload.as_slice(), b"\x03\xe9bye");
        assert!(ClosePayload::EMPTY.is_empty());
    }
}
