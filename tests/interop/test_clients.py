"""Clients of other implementations against a plain listener of `ringway serve`, and against
`interop-server` (server.rs) for what the server starts."""

import contextlib
import pathlib
import subprocess
import sys
import unittest

import ringway

PEERS = pathlib.Path(__file__).resolve().parent / "peers"


class Cases:
    """The cases that every client has."""

    # The program and its first arguments; it takes the URL and the case.
    command = []

    def front(self, server):
        """The URL by which the client connects, within a context."""
        return contextlib.nullcontext(server.plain_url)

    def run_case(self, server, name):
        with self.front(server) as url:
            self.run_client([*self.command, url, name])

    def run_client(self, command):
        name = command[-1]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual((ended.returncode, ended.stdout), (0, f"{name}: passed\n"), ended.stderr)

    def serve_case(self, name, *options):
        """Runs a case against `ringway serve`."""
        with ringway.serve(*options) as server:
            self.run_case(server, name)

    def test_text_and_binary_messages_up_to_1_mib(self):
        self.serve_case("echo")

    def test_a_fragmented_message(self):
        self.serve_case("fragments")

    def test_a_ping_is_answered(self):
        self.serve_case("ping")

    def test_chat_is_chosen_out_of_chat_and_superchat(self):
        self.serve_case("subprotocol", "--subprotocol", "chat")

    def test_the_client_answers_a_ping(self):
        with ringway.obedient() as server:
            self.run_case(server, "pinged")

    def test_the_client_closes_with_a_code_and_a_reason(self):
        with ringway.obedient() as server:
            self.run_case(server, "close")
            self.assertEqual(server.ended(), {"code": 4321, "reason": "réason", "clean": True})

    def test_the_server_closes_with_a_code_and_a_reason(self):
        with ringway.obedient() as server:
            self.run_case(server, "closed")
            self.assertEqual(server.ended(), {"code": 4444, "reason": "réason", "clean": True})


class Deflate:
    """The case of clients with permessage-deflate."""

    def test_compressed_messages_with_context_takeover(self):
        self.serve_case("deflate", "--deflate", "takeover")

    def test_compressed_messages_without_context_takeover(self):
        self.serve_case("deflate", "--deflate", "shared")


class Ws(Cases, Deflate, unittest.TestCase):
    command = ["node", PEERS / "ws_client.js"]


class Websocket(Cases, unittest.TestCase):
    command = ["node", PEERS / "websocket_client.js"]


class Websockets(Cases, Deflate, unittest.TestCase):
    command = [sys.executable, PEERS / "websockets_client.py"]

    def test_an_idle_connection_is_kept_by_pings(self):
        # A ping after half of a second. Four of them take twice the timeout.
        self.serve_case("idle", "--idle-timeout", "1s")


class WebsocketClient(Cases, unittest.TestCase):
    command = [sys.executable, PEERS / "websocket_client.py"]


class Curl(Cases, unittest.TestCase):
    command = [sys.executable, PEERS / "curl_client.py"]


class Tungstenite(Cases, unittest.TestCase):
    @property
    def command(self):
        return [ringway.tungstenite, "client"]
