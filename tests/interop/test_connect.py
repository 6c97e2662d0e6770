"""`ringway connect`, through pipes and at a terminal, with servers of other implementations."""

import base64
import contextlib
import json
import os
import pathlib
import pty
import subprocess
import sys
import termios
import unittest

import processes
import ringway

PEERS = pathlib.Path(__file__).resolve().parent / "peers"

MIB = 1 << 20


def piped(url, *options, given):
    """Runs `connect` with this input: its exit status, and its two outputs."""
    command = [ringway.program, "connect", url, *options]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


def objects(url, *options, given):
    """Runs `connect --jsonl`: its exit status, and what it has printed."""
    lines = "".join(f"{json.dumps(item)}\n" for item in given)
    status, stdout, stderr = piped(url, "--jsonl", *options, given=lines.encode())
    return status, [json.loads(line) for line in stdout.splitlines()], stderr


class Terminal:
    """`connect` at a pseudo-terminal."""

    def __init__(self, child, ours):
        self.child, self.ours = child, ours
        self.shown = b""

    def type(self, line):
        os.write(self.ours, f"{line}\r".encode())

    def expect(self, text):
        """Waits until the text is shown, behind what was expected before. `run` limits the time."""
        wanted = text.encode()
        while (at := self.shown.find(wanted)) < 0:
            try:
                more = os.read(self.ours, 65536)
            except OSError:  # EIO: the program has ended
                more = b""
            if not more:
                raise AssertionError(f"expected {text!r} in {self.shown!r}")
            self.shown += more
        self.shown = self.shown[at + len(wanted) :]


@contextlib.contextmanager
def terminal(url, *options):
    """A prompt of `connect`. Its terminal must have its former modes when the block is left."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "XDG_STATE_HOME": ringway.file("state")}
    try:
        termios.tcsetwinsize(theirs, (40, 200)) if hasattr(termios, "tcsetwinsize") else None
        modes = termios.tcgetattr(theirs)
        # The terminal is the controlling one of a session, as in a shell.
        command = ["setsid", "--ctty", ringway.program, "connect", url, *options]
        child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        try:
            yield Terminal(child, ours)
            child.wait(processes.END_SECONDS)
        finally:
            processes.end(child)
        if termios.tcgetattr(theirs) != modes:
            raise AssertionError("the terminal has other modes than before")
    finally:
        os.close(theirs)
        os.close(ours)


class Cases:
    """The cases that both servers have."""

    # The program that prints its port.
    command = []

    @contextlib.contextmanager
    def server(self, path="/", *arguments, scheme="ws://127.0.0.1"):
        with open(ringway.log(f"connect-{type(self).__name__}"), "wb") as log:
            command = [*self.command, *arguments]
            with processes.running(command, stdout=subprocess.PIPE, stderr=log, text=True) as child, child.stdout:
                yield f"{scheme}:{int(child.stdout.readline())}{path}"

    def test_lines(self):
        given = f"one\n\ngr\u00fc\u00dfe\n{'x' * MIB}\n".encode()
        with self.server() as url:
            self.assertEqual(piped(url, "-n", "4", given=given), (0, given, ""))
            self.assertEqual(piped(url, given=given), (0, given, ""))

    def test_binary_messages(self):
        messages = [b"\x00\xff\n", b"", bytes(range(256)) * 400]
        given = b"".join(len(message).to_bytes(4, "big") + message for message in messages)
        with self.server() as url:
            self.assertEqual(piped(url, "--binary", given=given), (0, given, ""))

    def test_pings_of_both_sides_and_fragments(self):
        with self.server() as url:
            given = [{"type": "ping", "data": "are you there"}, {"type": "text", "data": "hello"}]
            status, received, stderr = objects(url, given=given)
            self.assertEqual((status, stderr), (0, ""))
            kinds = [(item["type"], item["data"]) for item in received]
            self.assertEqual(kinds, [("pong", "are you there"), ("text", "hello")])
        payload = bytes(range(256)) * 100
        with self.server("/fragments") as url:
            given = [{"type": "binary", "base64": base64.b64encode(payload).decode()}]
            status, received, stderr = objects(url, "-n", "1", given=given)
            self.assertEqual((status, [item["type"] for item in received], stderr), (0, ["ping", "binary"], ""))
            self.assertEqual(base64.b64decode(received[1]["base64"]), payload)

    def test_close_codes_and_reasons_of_both_sides(self):
        with self.server("/closing") as url:
            status, received, stderr = objects(url, given=[{"type": "text", "data": "close"}])
            closed = {"direction": "received", "type": "close", "code": 4001, "reason": "r\u00e9ason"}
            self.assertEqual((status, [item for item in received if item.pop("time")]), (1, [closed]))
            line = 'ringway: closed by the server: 4001 (code of the application) "r\u00e9ason", clean\n'
            self.assertEqual(stderr, line)
        with self.server() as url:
            given = [{"type": "close", "code": 4002, "reason": "go\u00f6dbye"}]
            status, received, stderr = objects(url, "-v", given=given)
            self.assertEqual((status, received), (0, []))
            self.assertIn('closed by us: 4002 (code of the application) "go\u00f6dbye", clean\n', stderr)

    def test_compression(self):
        message = '{"price": 1, "price": 1, "price": 1}' * 1000
        with self.server() as url:
            for mode in ["takeover", "shared"]:
                with self.subTest(mode=mode):
                    recording = ringway.file("compressed.jsonl")
                    options = [f"--deflate={mode}", "-v", "--trace", "--record", recording, "-n", "3"]
                    given = f"{message}\n".encode() * 3
                    status, stdout, stderr = piped(url, *options, given=given)
                    self.assertEqual((status, stdout), (0, given), stderr)
                    self.assertIn("extensions permessage-deflate", stderr)
                    compressed = [line for line in stderr.splitlines() if " compressed" in line]
                    for mark in "><":
                        frames = [line for line in compressed if f" {mark} " in line]
                        self.assertEqual(len(frames), 3, stderr)

    def test_a_subprotocol(self):
        with self.server("/chat") as url:
            status, stdout, stderr = piped(url, "-1", "-v", "--subprotocol", "chat", given=b"hello\n")
            self.assertEqual((status, stdout), (0, b"hello\n"))
            self.assertIn("subprotocol chat\n", stderr)

    def test_a_prompt(self):
        with self.server() as url, terminal(url) as prompt:
            prompt.expect(f"connected to {url} at ")
            prompt.expect("> ")
            prompt.type("gr\u00fc\u00dfe")
            prompt.expect("text 7 B \u2502 gr\u00fc\u00dfe")
            prompt.type("/binary 00 ff 68 69")
            prompt.expect("binary 4 B")
            prompt.expect("00000000  00 ff 68 69")
            prompt.type("/ping are you there")
            prompt.expect("pong 13 B, round trip ")
            prompt.expect("\u2502 are you there")
            prompt.type("/close 4001 bye")
            prompt.expect('closed by us: 4001 (code of the application) "bye", clean')
            self.assertEqual(prompt.child.wait(processes.END_SECONDS), 0)

    def test_a_prompt_that_the_server_closes(self):
        with self.server("/closing") as url, terminal(url, "--deflate") as prompt:
            prompt.expect("extensions permessage-deflate")
            prompt.expect("> ")
            prompt.type("close")
            prompt.expect('closed by the server: 4001 (code of the application) "r\u00e9ason", clean')
            self.assertEqual(prompt.child.wait(processes.END_SECONDS), 1)


class Ws(Cases, unittest.TestCase):
    command = ["node", PEERS / "ws_server.js"]

    def test_a_prompt_over_tls(self):
        identity = [ringway.file("server.pem"), ringway.file("server.key")]
        with self.server("/", *identity, scheme="wss://localhost") as url:
            for options in [["--cacert", ringway.file("ca.pem")], ["-k"]]:
                with self.subTest(options=options), terminal(url, *options) as prompt:
                    prompt.expect("connected to wss://localhost:")
                    prompt.expect("TLS 1.3")
                    prompt.type("over TLS")
                    prompt.expect("text 8 B \u2502 over TLS")
                    prompt.type("/quit")
                    prompt.expect("closed by us: 1000 (normal closure), clean")
                    self.assertEqual(prompt.child.wait(processes.END_SECONDS), 0)
            status, stdout, stderr = piped(url, given=b"")
            self.assertEqual((status, stdout, len(stderr.splitlines())), (1, b"", 1), stderr)
            self.assertIn("give the CA with --cacert", stderr)


class Websockets(Cases, unittest.TestCase):
    command = [sys.executable, PEERS / "websockets_server.py"]
