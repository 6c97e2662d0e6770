"""The library ws of Node as client and as server, with TLS."""

import pathlib
import subprocess
import unittest

import processes
import ringway

PEERS = pathlib.Path(__file__).resolve().parent / "peers"


class Client(unittest.TestCase):
    def run_case(self, name, *options, ca="ca.pem"):
        """Runs a case of ws_client.js."""
        with ringway.serve_tls(*options) as server:
            command = ["node", PEERS / "ws_client.js", server.url, name, ringway.file(ca)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            self.assertEqual((ended.returncode, ended.stdout), (0, f"{name}: passed\n"), ended.stderr)

    def test_echoes_of_all_sizes_and_kinds(self):
        self.run_case("echo")

    def test_compressed_messages(self):
        self.run_case("deflate", "--deflate", "takeover")

    def test_a_fragmented_message(self):
        self.run_case("fragments")

    def test_close_codes_are_answered(self):
        self.run_case("codes")

    def test_a_ping_is_answered(self):
        self.run_case("ping")

    def test_a_session_is_resumed(self):
        self.run_case("resumption")

    def test_an_unknown_issuer_is_refused(self):
        self.run_case("unverified", ca="client-ca.pem")


class Server(unittest.TestCase):
    def test_load_exchanges_messages(self):
        command = ["node", PEERS / "ws_server.js", ringway.file("server.pem"), ringway.file("server.key")]
        with open(ringway.log("node"), "wb") as log:
            with processes.running(command, stdout=subprocess.PIPE, stderr=log, text=True) as child, child.stdout:
                url = f"wss://localhost:{int(child.stdout.readline())}/"
                for size in ["20", "16K", "1M"]:
                    with self.subTest(size=size):
                        ca = ["--cacert", ringway.file("ca.pem")]
                        ringway.check_load(self, url, *ca, "-s", size, "--binary")
