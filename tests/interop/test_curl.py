"""curl as client of `ringway serve`."""

import re
import subprocess
import unittest

import processes
import recorder
import ringway
import wire


def curl(*arguments):
    """The exit status, the output and the messages of curl."""
    command = ["curl", "--silent", "--show-error", "--cacert", ringway.file("ca.pem"), "--http1.1", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return ended.returncode, ended.stdout, ended.stderr


class Curl(unittest.TestCase):
    def test_an_upgrade_over_https_is_accepted(self):
        headers = [part for name, value in wire.UPGRADE_HEADERS.items() for part in ("--header", f"{name}: {value}")]
        with ringway.serve_tls() as server:
            command = ["curl", "--silent", "--dump-header", "-", "--http1.1", "--cacert", ringway.file("ca.pem"),
                       *headers, f"https://localhost:{server.port}/"]  # fmt: skip
            # curl waits for more after the head of the response.
            with processes.running(command, stdout=subprocess.PIPE, text=True) as child, child.stdout:
                head = list(iter(child.stdout.readline, "\n"))
                self.assertEqual(head[0], "HTTP/1.1 101 Switching Protocols\n", head)
                self.assertIn(f"Sec-WebSocket-Accept: {wire.ACCEPT}\n", head)

    def test_a_session_is_resumed(self):
        with ringway.serve_tls() as server, recorder.record(server.port) as relay:
            # The second request has a connection of its own.
            url = f"https://localhost:{relay.port}/"
            status, _, messages = curl("--verbose", "--header", "Connection: close", url, url)
            self.assertEqual(status, 0, messages)
            self.assertRegex(messages, re.compile("ssl re-?using session", re.IGNORECASE))
            recorder.check_resumed(self, relay, "curl")

    def test_a_server_of_another_name_or_issuer_is_refused(self):
        with ringway.serve_tls() as server:
            resolve = ["--resolve", f"other.example:{server.port}:127.0.0.1"]
            status, _, messages = curl(*resolve, f"https://other.example:{server.port}/")
            self.assertEqual(status, 60, messages)
            ca = ["--cacert", ringway.file("client-ca.pem")]
            status, _, messages = curl(*ca, f"https://localhost:{server.port}/")
            self.assertEqual(status, 60, messages)

    def test_http_on_the_tls_port_is_answered_with_400(self):
        with ringway.serve_tls() as server:
            status, output, messages = curl("--include", f"http://localhost:{server.port}/")
            self.assertEqual(status, 0, messages)
            self.assertRegex(output, r"^HTTP/1\.1 400 ")
            self.assertIn("This port expects TLS: use https:// or wss:// in the URL.", output)
