"""A TCP relay in front of a server that shows whether a TLS session was resumed, whatever the peers
report: the ServerHello is not encrypted."""

import contextlib
import socket
import struct
import threading

HANDSHAKE, SERVER_HELLO, SUPPORTED_VERSIONS, PRE_SHARED_KEY = 22, 2, 43, 41
# A ServerHello with this random is a HelloRetryRequest (RFC 8446 section 4.1.3).
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def server_hello(received):
    """The random and the extensions of the final ServerHello, or None while it is incomplete or
    missing."""
    messages = b""
    while len(received) >= 5:
        kind, _, length = struct.unpack_from("!BHH", received)
        record, received = received[5 : 5 + length], received[5 + length :]
        if kind == HANDSHAKE and len(record) == length:
            messages += record
    while len(messages) >= 4:
        kind, length = messages[0], int.from_bytes(messages[1:4], "big")
        body, messages = messages[4 : 4 + length], messages[4 + length :]
        if kind != SERVER_HELLO or len(body) < length:
            return None
        if body[2:34] != RETRY:
            return body[2:34], extensions(body)
    return None


def extensions(body):
    """The extensions of a ServerHello, by number."""
    position = 34 + 1 + body[34] + 2 + 1
    found, position = {}, position + 2
    while position + 4 <= len(body):
        number, length = struct.unpack_from("!HH", body, position)
        found[number] = body[position + 4 : position + 4 + length]
        position += 4 + length
    return found


class Recorder:
    """The connections that have passed the relay."""

    def __init__(self, port, target):
        self.port = port
        self.target = target
        # The first bytes of the server on each connection, in the order of the connections.
        self.received = []

    def handshakes(self):
        """For each connection with a TLS 1.3 ServerHello: whether the server has accepted the
        session that the client offered (RFC 8446 section 4.2.11)."""
        hellos = [hello for hello in map(server_hello, map(bytes, self.received)) if hello]
        return [PRE_SHARED_KEY in found for _, found in hellos if SUPPORTED_VERSIONS in found]


def copy(source, target, record=None):
    """Forwards bytes until the source ends, then ends the target's input."""
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            if record is not None and len(record) < 65536:
                record += content
            target.sendall(content)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def relay(recorder, client):
    try:
        upstream = socket.create_connection(("127.0.0.1", recorder.target))
    except OSError:
        client.close()
        return
    record = bytearray()
    recorder.received.append(record)
    with client, upstream:
        back = threading.Thread(target=copy, args=(upstream, client, record), daemon=True)
        back.start()
        copy(client, upstream)
        back.join()


@contextlib.contextmanager
def record(target):
    """A relay to the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        recorder = Recorder(listener.getsockname()[1], target)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=relay, args=(recorder, client), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield recorder
        finally:
            # Ends `accept`, which `close` alone does not.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def check_resumed(test, recorder, peer):
    """Asserts that the first connection had a full handshake, and a later one a resumed session."""
    handshakes = recorder.handshakes()
    test.assertGreaterEqual(len(handshakes), 2, f"{peer} did not connect twice")
    test.assertFalse(handshakes[0], f"{peer} resumed a session in its first connection")
    test.assertTrue(any(handshakes), f"{peer} resumed no session in {len(handshakes)} connections")
