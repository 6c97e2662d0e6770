"""`curl_client.py URL CASE`: one connection of libcurl, by pycurl, whose wheels have a libcurl with
WebSocket support. curl itself of Debian 12 has none."""

import os
import select
import socket

import case
import pycurl

NAMES = {pycurl.WS_TEXT: "text", pycurl.WS_BINARY: "binary", pycurl.WS_CLOSE: "close", pycurl.WS_PING: "ping",
         pycurl.WS_PONG: "pong"}  # fmt: skip


class Client:
    """A connection."""

    def __init__(self, url, headers=()):
        self.curl = pycurl.Curl()
        self.curl.setopt(pycurl.URL, url)
        self.curl.setopt(pycurl.CONNECT_ONLY, 2)
        self.response = []
        self.curl.setopt(pycurl.HTTPHEADER, list(headers))
        self.curl.setopt(pycurl.HEADERFUNCTION, lambda line: self.response.append(line.decode().strip()))
        self.curl.perform()
        case.check("status", self.curl.getinfo(pycurl.RESPONSE_CODE), 101)
        self.socket = socket.socket(fileno=os.dup(self.curl.getinfo(pycurl.ACTIVESOCKET)))

    def send(self, payload, flags):
        """Sends a frame, or a fragment with WS_CONT."""
        while True:
            # An empty message is sent by one call.
            try:
                sent = self.curl.ws_send(payload, flags)
            except BlockingIOError:
                select.select([], [self.socket], [])
                continue
            payload = payload[sent:]
            if not payload:
                return

    def receive(self):
        """The kind and the payload of the next message or control frame."""
        payload = b""
        while True:
            try:
                part, meta = self.curl.ws_recv(1 << 16)
            except BlockingIOError:
                select.select([self.socket], [], [])
                continue
            payload += part
            if meta.bytesleft == 0 and not meta.flags & pycurl.WS_CONT:
                return next(name for flag, name in NAMES.items() if meta.flags & flag), payload


def echo(url):
    client = Client(url)
    for size in case.SIZES:
        for kind, flag, message in [("binary", pycurl.WS_BINARY, os.urandom(size)),
                                    ("text", pycurl.WS_TEXT, ("é" * (size // 2)).encode())]:  # fmt: skip
            client.send(message, flag)
            case.check("echo", client.receive(), (kind, message))


def fragments(url):
    client = Client(url)
    parts = [os.urandom(size) for size in case.FRAGMENT_SIZES]
    for number, part in enumerate(parts):
        more = 0 if part is parts[-1] else pycurl.WS_CONT
        client.send(part, pycurl.WS_BINARY | more)
        if number == 2:
            client.send(b"between", pycurl.WS_PING)
            case.check("pong between fragments", client.receive(), ("pong", b"between"))
    case.check("fragments", client.receive(), ("binary", b"".join(parts)))


def ping(url):
    client = Client(url)
    client.send(b"payload", pycurl.WS_PING)
    case.check("pong", client.receive(), ("pong", b"payload"))


def pinged(url):
    """With CONNECT_ONLY, libcurl hides a ping, and sends its pong with the next message."""
    client = Client(url)
    client.send(b"/ping payload", pycurl.WS_TEXT)
    select.select([client.socket], [], [])
    try:
        case.check("nothing but the ping", client.curl.ws_recv(100), None)
    except BlockingIOError:
        client.send(b"message", pycurl.WS_TEXT)
    case.check("answer to the pong", client.receive(), ("text", b"pong payload"))
    case.check("echo", client.receive(), ("text", b"message"))


def subprotocol(url):
    client = Client(url, ["Sec-WebSocket-Protocol: chat, superchat"])
    chosen = [line for line in client.response if line.lower().startswith("sec-websocket-protocol:")]
    case.check("subprotocol", chosen, ["Sec-WebSocket-Protocol: chat"])


def close(url):
    client = Client(url)
    client.curl.ws_close(4321, "réason")
    kind, payload = client.receive()
    case.check("answer", (kind, payload[:2]), ("close", (4321).to_bytes(2, "big")))


def closed(url):
    client = Client(url)
    client.send("/close 4444 réason".encode(), pycurl.WS_TEXT)
    kind, payload = client.receive()
    case.check("close frame", (kind, payload[:2], payload[2:].decode()),
               ("close", (4444).to_bytes(2, "big"), "réason"))  # fmt: skip
    # libcurl leaves the answer to the program.
    client.curl.ws_send(payload, pycurl.WS_CLOSE)


CASES = [echo, fragments, ping, pinged, subprotocol, close, closed]
case.run({function.__name__: function for function in CASES})
