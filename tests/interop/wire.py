"""WebSocket bytes (RFC 6455) for peers that only carry bytes."""

# The key of RFC 6455 section 1.3, and its answer.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

UPGRADE_HEADERS = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}

REQUEST = "\r\n".join(
    ["GET / HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in UPGRADE_HEADERS.items()), "", ""]
).encode()


def text_frame(text):
    """A masked text frame of up to 125 bytes. The key is zero, so the payload is readable."""
    payload = text.encode()
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def echo_of(text):
    """The frame that an echo server answers to `text_frame`."""
    payload = text.encode()
    return bytes([0x81, len(payload)]) + payload
