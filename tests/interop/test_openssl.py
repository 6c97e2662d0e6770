"""`openssl s_client` as client of `ringway serve`."""

import base64
import contextlib
import os
import re
import subprocess
import unittest

import processes
import ringway
import wire

TLS12, TLS13 = "-tls1_2", "-tls1_3"


class Client:
    """A running `s_client`. Its output contains the plaintext that it receives."""

    def __init__(self, child):
        self.child = child
        self.output = b""

    def send(self, content):
        """Writes to the connection. A line of one letter at the start is a command of `s_client`:
        `Q` ends it, `R` renegotiates, `K` updates the keys of both sides."""
        self.child.stdin.write(content)
        self.child.stdin.flush()

    def until(self, expected):
        """Reads output up to and with the expected bytes."""
        position = 0
        while (found := self.output.find(expected, position)) < 0:
            position = max(0, len(self.output) - len(expected))
            more = os.read(self.child.stdout.fileno(), 65536)
            if not more:
                raise AssertionError(f"s_client ended without {expected!r} in its output:\n{self.text()}")
            self.output += more
        return self.output[: found + len(expected)]

    def rest(self):
        """All output, after the end of `s_client`."""
        self.output += self.child.stdout.read()
        self.child.wait()
        return self.text()

    def text(self):
        return self.output.decode(errors="replace")

    def upgrade(self):
        """Opens a WebSocket connection."""
        self.send(wire.REQUEST)
        self.until(b"HTTP/1.1 101 ")
        self.until(f"Sec-WebSocket-Accept: {wire.ACCEPT}\r\n\r\n".encode())

    def echo(self, text):
        self.send(wire.text_frame(text))
        self.until(wire.echo_of(text))

    def quit(self):
        self.send(b"Q\n")
        return self.rest()


@contextlib.contextmanager
def connect(server, *options):
    """A client that verifies the certificate for `localhost`."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", ringway.file("ca.pem"),
               "-verify_return_error", "-verify_hostname", "localhost", *options]  # fmt: skip
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)  # fmt: skip
    try:
        yield Client(child)
    finally:
        processes.end(child)
        child.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()


def with_early_data(session, bytes_allowed):
    """The saved session, changed as if the server had allowed early data.

    The session is DER: a sequence in which `max_early_data` has the tag 15, after all tags below.
    """
    head, body, tail = re.search(rb"(-----BEGIN.*?-----\n)(.*?)(-----END.*)", session, re.DOTALL).groups()
    der = base64.b64decode(body)
    fields, content = [], read_tlv(der)[1]
    while content:
        tag, _, size = read_tlv(content)
        fields.append((tag, content[:size]))
        content = content[size:]
    is_later = lambda tag: tag & 0xE0 == 0xA0 and tag & 0x1F > 15  # noqa: E731
    field = tlv(0xAF, tlv(0x02, bytes_allowed.to_bytes(bytes_allowed.bit_length() // 8 + 1, "big")))
    before = b"".join(encoded for tag, encoded in fields if not is_later(tag) and tag != 0xAF)
    after = b"".join(encoded for tag, encoded in fields if is_later(tag))
    return head + base64.encodebytes(tlv(0x30, before + field + after)) + tail


def tlv(tag, value):
    """A DER element."""
    if len(value) < 0x80:
        return bytes([tag, len(value)]) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def read_tlv(der):
    """The tag and the value of the first DER element, and the size of the element."""
    start, length = 2, der[1]
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return der[0], der[start : start + length], start + length


class Handshakes(unittest.TestCase):
    def test_both_versions_verify_the_chain_and_agree_on_http_1_1(self):
        with ringway.serve_tls() as server:
            for flag, version in [(TLS12, "TLSv1.2"), (TLS13, "TLSv1.3")]:
                with self.subTest(version=version), connect(server, flag, "-alpn", "h2,http/1.1") as client:
                    client.upgrade()
                    client.echo("over TLS")
                    output = client.quit()
                    self.assertIn(f"New, {version}, Cipher is ", output)
                    self.assertIn("Verification: OK", output)
                    self.assertIn("ALPN protocol: http/1.1", output)
                    self.assertIn("Compression: NONE", output)

    def test_older_versions_are_refused(self):
        with ringway.serve_tls() as server:
            for flag in ["-tls1", "-tls1_1"]:
                with self.subTest(flag), connect(server, flag, "-cipher", "ALL@SECLEVEL=0") as client:
                    output = client.rest()
                    self.assertRegex(output, "alert (protocol version|handshake failure)")
                    self.assertIn("Cipher is (NONE)", output)

    def test_tls_1_2_is_refused_with_tls_min_1_3(self):
        with ringway.serve_tls("--tls-min", "1.3") as server:
            with connect(server, TLS12) as client:
                self.assertIn("alert protocol version", client.rest())
            with connect(server) as client:
                client.upgrade()

    def test_a_client_without_http_1_1_is_refused(self):
        with ringway.serve_tls() as server, connect(server, "-alpn", "h2") as client:
            self.assertIn("alert no application protocol", client.rest())

    def test_each_cipher_suite_works(self):
        tls13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
        tls12 = ["ECDHE-{}-AES128-GCM-SHA256", "ECDHE-{}-AES256-GCM-SHA384", "ECDHE-{}-CHACHA20-POLY1305"]
        for identity, kind in [("server", "ECDSA"), ("rsa", "RSA")]:
            suites = [(TLS13, "-ciphersuites", suite) for suite in tls13]
            suites += [(TLS12, "-cipher", suite.format(kind)) for suite in tls12]
            with ringway.serve_tls(identities=[identity]) as server:
                for version, flag, suite in suites:
                    with self.subTest(kind=kind, suite=suite), connect(server, version, flag, suite) as client:
                        client.upgrade()
                        client.echo("hello")
                        self.assertIn(f"Cipher is {suite}\n", client.quit())

    def test_the_name_selects_the_certificate(self):
        with ringway.serve_tls(identities=["server", "rsa"]) as server:
            for names, subject in [
                (["-servername", "localhost"], "localhost"),
                (["-servername", "rsa.example"], "rsa.example"),
                (["-servername", "RSA.example"], "rsa.example"),
                (["-servername", "unknown.example"], "localhost"),
                (["-noservername"], "localhost"),
            ]:
                with self.subTest(names=names), connect(server, *names) as client:
                    client.upgrade()
                    self.assertRegex(client.quit(), rf"\nsubject=CN ?= ?{re.escape(subject)}\n")


class Resumption(unittest.TestCase):
    def test_a_session_of_tls_1_2_is_resumed(self):
        with ringway.serve_tls() as server, connect(server, TLS12, "-reconnect") as client:
            # -reconnect connects five times with the session of the first connection.
            for _ in range(5):
                client.until(b"Reused, TLSv1.2, Cipher is ")
                client.output = client.output.partition(b"Reused, TLSv1.2, Cipher is ")[2]
            client.until(b"\n---\n")
            client.upgrade()
            client.echo("resumed")

    def test_a_session_of_tls_1_3_is_resumed(self):
        session = ringway.file("tls13.session")
        with ringway.serve_tls() as server:
            self.save_session(server, session)
            with connect(server, TLS13, "-sess_in", session) as client:
                client.upgrade()
                client.echo("resumed")
                self.assertIn("Reused, TLSv1.3, Cipher is ", client.quit())

    def test_early_data_is_not_accepted(self):
        session = ringway.file("early-data.session")
        with ringway.serve_tls() as server:
            self.save_session(server, session)
            with open(session, "rb+") as file:
                changed = with_early_data(file.read(), 16384)
                file.seek(0)
                file.write(changed)
                file.truncate()
            early = ringway.write("early-data", wire.REQUEST.decode())
            with connect(server, TLS13, "-sess_in", session, "-early_data", early) as client:
                # The request that was sent early has no answer: this is the first.
                client.upgrade()
                client.echo("after the handshake")
                output = client.quit()
                self.assertIn("Early data was rejected", output)
                self.assertIn("Reused, TLSv1.3, Cipher is ", output)
                self.assertEqual(output.count("HTTP/1.1 "), 1, output)

    def save_session(self, server, path):
        with connect(server, TLS13, "-sess_out", path) as client:
            # The ticket arrives before the echo.
            client.upgrade()
            client.echo("a first connection")
            self.assertIn("Max Early Data: 0\n", client.quit())


class LaterHandshakes(unittest.TestCase):
    def test_renegotiation_is_refused(self):
        with ringway.serve_tls() as server, connect(server, TLS12) as client:
            client.upgrade()
            client.send(b"R\n")
            self.assertIn("no renegotiation", client.rest())

    def test_keys_are_updated_during_a_connection(self):
        with ringway.serve_tls() as server, connect(server, TLS13, "-msg") as client:
            client.upgrade()
            client.echo("with the first keys")
            for number in range(3):
                client.send(b"K\n")
                client.until(b"KEYUPDATE\n")
                client.output = b""
                client.echo(f"with new keys, {number}")
                # The server has updated its keys too.
                self.assertRegex(client.text(), r"<<< TLS 1.3, Handshake \[length 0005\], KeyUpdate")


class ClientCertificates(unittest.TestCase):
    def test_required(self):
        with self.serve() as server:
            self.connect_with_certificate(server)
            for flag in [TLS12, TLS13]:
                with self.subTest(flag), connect(server, flag) as client:
                    self.assertRegex(client.rest(), "alert (certificate required|handshake failure|bad certificate)")

    def test_optional(self):
        with self.serve("--tls-client-auth", "optional") as server:
            self.connect_with_certificate(server)
            with connect(server) as client:
                client.upgrade()
                client.echo("without a certificate")

    def test_of_another_issuer(self):
        with self.serve() as server:
            for flag in [TLS12, TLS13]:
                certificate = ["-cert", ringway.file("server.pem"), "-key", ringway.file("server.key")]
                with self.subTest(flag), connect(server, flag, *certificate) as client:
                    self.assertRegex(client.rest(), "alert (unknown ca|bad certificate|unsupported certificate)")

    def serve(self, *options):
        return ringway.serve_tls("--tls-client-ca", ringway.file("client-ca.pem"), *options)

    def connect_with_certificate(self, server):
        certificate = ["-cert", ringway.file("client.pem"), "-key", ringway.file("client.key")]
        for flag in [TLS12, TLS13]:
            with self.subTest(flag), connect(server, flag, *certificate) as client:
                client.upgrade()
                client.echo("with a certificate")
                self.assertIn("CN = Ringway Test Client CA", client.quit())
