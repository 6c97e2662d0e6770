"""Checks that a command is a correct WebSocket server that echoes, or that sends each message to all connections. Uses
plain sockets and its own framing."""

import base64
import contextlib
import hashlib
import os
import shlex
import socket
import subprocess
import tempfile
import threading
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
KINDS = {0: "continuation", TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}
# Seconds to start listening, and to answer.
TIMEOUT = 30


class Failure(Exception):
    pass


def check_command(command, check):
    """Starts a command with a free port in place of `{port}`, checks it, and kills it."""
    with running(command) as port:
        return check(port)


@contextlib.contextmanager
def running(command):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [word.replace("{port}", str(port)) for word in shlex.split(command)]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        except OSError as error:
            raise Failure(f"{words[0]}: {error.strerror}") from None
        try:
            wait_until_it_accepts(process, port, errors)
            yield port
            if process.poll() is not None:
                raise Failure(f"the server exited during the check: {last_line(errors)}")
        finally:
            process.kill()
            process.wait()


def wait_until_it_accepts(process, port, errors):
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None:
                raise Failure(f"the server exited before it listened: {last_line(errors)}") from None
            if time.monotonic() > deadline:
                raise Failure(f"the server does not listen on 127.0.0.1:{port} after {TIMEOUT} s") from None
            time.sleep(0.01)


def last_line(file):
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


class Connection:
    """A client connection. Frames are masked with random keys."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.received = bytearray()
        try:
            self.shake_hands(port)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def shake_hands(self, port):
        key = base64.b64encode(os.urandom(16))
        self.socket.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n" % (port, key)
        )
        while b"\r\n\r\n" not in self.received:
            self.receive("the answer to the handshake")
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        accept = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        if " 101 " not in status + " ":
            raise Failure(f"the handshake is answered with '{status}'")
        if headers.get("sec-websocket-accept") != base64.b64encode(accept).decode():
            raise Failure("Sec-WebSocket-Accept is wrong")
        if "sec-websocket-extensions" in headers:
            raise Failure(f"it compresses: {headers['sec-websocket-extensions']}")

    def receive(self, expected):
        try:
            received = self.socket.recv(1 << 18)
        except TimeoutError:
            raise Failure(f"{expected} did not arrive within {TIMEOUT} s") from None
        except ConnectionResetError:
            raise Failure(f"the connection was reset instead of {expected}") from None
        if not received:
            raise Failure(f"the connection was closed instead of {expected}")
        self.received += received

    def take(self, length, expected):
        while len(self.received) < length:
            self.receive(expected)
        taken = bytes(self.received[:length])
        del self.received[:length]
        return taken

    def frame(self, expected):
        """The next frame: its opcode, whether it is the last of its message, and its payload."""
        first, second = self.take(2, expected)
        if first & 0x70:
            raise Failure(f"{expected}: a frame has reserved bits")
        if second & 0x80:
            raise Failure(f"{expected}: the server masks its frames")
        length = second
        if second >= 126:
            length = int.from_bytes(self.take(2 if second == 126 else 8, expected), "big")
        return first & 0x0F, bool(first & 0x80), self.take(length, expected)

    def expect_message(self, kind, payload, expected):
        received, parts = None, []
        while True:
            opcode, last, part = self.frame(expected)
            if opcode != (kind if received is None else 0):
                raise Failure(f"{expected}: a {KINDS.get(opcode, opcode)} frame came back for a {KINDS[kind]} message")
            received = opcode
            parts.append(part)
            if last:
                break
        if b"".join(parts) != payload:
            raise Failure(f"{expected}: the content came back changed")

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def echo(self, kind, payload, what):
        self.send(masked(kind, payload))
        self.expect_message(kind, payload, what)


def masked(opcode, payload, last=True):
    key, length = os.urandom(4), len(payload)
    head = bytes([opcode | (0x80 if last else 0)])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 1 << 16:
        head += b"\xfe" + length.to_bytes(2, "big")
    else:
        head += b"\xff" + length.to_bytes(8, "big")
    repeated = (key * (length // 4 + 1))[:length]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")


def check_server(port):
    """Returns a summary of the checks, or raises `Failure` at the first error."""
    with Connection(port) as connection:
        for step in (kinds, sizes, pipelined, backpressure, pings, fragments, bytewise, closing):
            step(connection)
    many_at_once(port)
    return "text, binary, 0 B to 16 MiB, pipelined, ping, fragments, close"


def kinds(connection):
    connection.echo(TEXT, "Grüße, 世界".encode(), "a text message")
    connection.echo(BINARY, bytes(range(256)), "a binary message")


def sizes(connection):
    for size in (0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20):
        connection.echo(BINARY, os.urandom(size), f"a binary message of {size} bytes")
        if size <= 65_536:
            connection.echo(TEXT, b"x" * size, f"a text message of {size} bytes")


def pipelined(connection):
    for size in (20, 16 << 10, 64 << 10):
        messages = [(TEXT if i % 2 else BINARY, bytes([65 + i]) * size) for i in range(16)]
        connection.send(*(masked(*message) for message in messages))
        for i, message in enumerate(messages):
            connection.expect_message(*message, f"message {i + 1} of 16 with {size} bytes each, sent at once")


def backpressure(connection):
    """Sends and receives concurrently, more than the socket buffers hold."""
    messages = [bytes([65 + i]) * (1 << 20) for i in range(16)]
    frames = [masked(BINARY, message) for message in messages]
    sender = threading.Thread(target=connection.send, args=frames, daemon=True)
    sender.start()
    for i, message in enumerate(messages):
        connection.expect_message(BINARY, message, f"message {i + 1} of 16 with 1 MiB each, sent at once")
    sender.join()


def pings(connection):
    connection.send(masked(PING, b"are you there"))
    if connection.frame("a pong") != (PONG, True, b"are you there"):
        raise Failure("a ping is not answered with a pong of the same content")
    connection.send(masked(PONG, b"unasked"))
    connection.echo(TEXT, b"after an unasked pong", "a message after an unasked pong")


def fragments(connection):
    connection.send(masked(TEXT, b"one, ", last=False), masked(0, b"two, ", last=False), masked(0, b"three"))
    connection.expect_message(TEXT, b"one, two, three", "a message in three fragments")


def bytewise(connection):
    for byte in masked(BINARY, b"byte by byte"):
        connection.send(bytes([byte]))
    connection.expect_message(BINARY, b"byte by byte", "a message sent byte by byte")


def closing(connection):
    connection.send(masked(CLOSE, (1000).to_bytes(2, "big")))
    opcode, _, payload = connection.frame("the answer to a close")
    if opcode != CLOSE or payload[:2] != (1000).to_bytes(2, "big"):
        raise Failure("a close with code 1000 is not answered with the same")
    try:
        if connection.received or connection.socket.recv(1):
            raise Failure("the server sends bytes after the close")
    except TimeoutError:
        raise Failure(f"the connection does not end within {TIMEOUT} s after the close") from None
    except ConnectionResetError:
        pass


def many_at_once(port):
    """Sends on 50 connections before it reads from any."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Connection(port)) for _ in range(50)]
        for i, connection in enumerate(connections):
            connection.send(masked(TEXT, b"connection %d" % i))
        for i, connection in enumerate(connections):
            connection.expect_message(TEXT, b"connection %d" % i, "a message on one of 50 connections")


def check_fanout(port):
    """Checks that each message reaches all connections, its sender included, once and in order, and that those that
    have left are missed by none."""
    with contextlib.ExitStack() as stack:
        members = [stack.enter_context(Connection(port)) for _ in range(20)]
        for i, sender in enumerate(members[:4]):
            distribute(sender, members, [(TEXT, b"of member %d" % i), (BINARY, bytes(range(256)))], f"member {i}")
        for size in (0, 125, 126, 65_535, 65_536, 1 << 20):
            distribute(members[0], members, [(BINARY, os.urandom(size))], f"a message of {size} bytes")
        many = [(TEXT, b"%d of 100" % i) for i in range(100)]
        distribute(members[0], members, many, "messages sent at once")
        closing(members.pop())
        distribute(members[0], members, [(TEXT, b"after one has left")], "a message after a close")
    return "text, binary, 0 B to 1 MiB, to all of 20 connections in order, after a close"


def distribute(sender, members, messages, what):
    sender.send(*(masked(*message) for message in messages))
    for i, member in enumerate(members):
        for message in messages:
            member.expect_message(*message, f"{what}, at connection {i + 1} of {len(members)}")
