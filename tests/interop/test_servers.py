"""Servers of other implementations for `ringway load`, on plain listeners."""

import contextlib
import pathlib
import subprocess
import sys
import unittest

import processes
import ringway

PEERS = pathlib.Path(__file__).resolve().parent / "peers"


class Cases:
    """The cases that every server has. Each reply is compared with its message."""

    # The program that prints its port.
    command = []

    @contextlib.contextmanager
    def server(self, path="/"):
        with open(ringway.log(type(self).__name__), "wb") as log:
            with processes.running(self.command, stdout=subprocess.PIPE, stderr=log, text=True) as child, child.stdout:
                yield f"ws://127.0.0.1:{int(child.stdout.readline())}{path}"

    def test_text_and_binary_messages_up_to_1_mib(self):
        with self.server() as url:
            for size in ["0", "20", "125", "126", "65535", "65536", "1M"]:
                for kind in [["--unicode"], ["--binary"]]:
                    with self.subTest(size=size, kind=kind):
                        ringway.check_load(self, url, "-s", size, *kind)

    def test_many_messages_in_flight_on_many_connections(self):
        with self.server() as url:
            ringway.check_load(self, url, "-s", "1-5K", "-p", "16", connections=20, messages=4000)


class Fragments:
    """Servers that can send fragments."""

    def test_replies_in_fragments(self):
        with self.server("/fragments") as url:
            for kind in [["--binary"], ["--unicode"]]:
                with self.subTest(kind=kind):
                    report = ringway.check_load(self, url, "-s", "2K-100K", *kind, connections=4, messages=40)
                    self.assertEqual(report["messages"]["fragmented"], 40)


class Deflate:
    """Servers with permessage-deflate."""

    def test_compressed_messages(self):
        with self.server() as url:
            for mode in ["takeover", "shared"]:
                with self.subTest(mode=mode):
                    options = ["-s", "100-100K", "--json", f"--deflate={mode}"]
                    report = ringway.check_load(self, url, *options, connections=4, messages=100)
                    self.assertEqual(report["connections"]["compressing"], 4)
                    self.assertGreater(report["compression"]["ratio"], 2)


class Subprotocol:
    """Servers that choose a subprotocol. They close connections without it."""

    def test_chat_is_chosen_out_of_superchat_and_chat(self):
        with self.server("/chat") as url:
            ringway.check_load(self, url, "--subprotocol", "superchat", "--subprotocol", "chat")
            self.assertEqual(ringway.load(url).status, 1)


class Ws(Cases, Fragments, Deflate, Subprotocol, unittest.TestCase):
    command = ["node", PEERS / "ws_server.js"]

    def test_a_close_is_an_error_with_its_code_and_reason(self):
        with self.server("/closing") as url:
            loaded = ringway.load(url)
            self.assertEqual(loaded.status, 1, loaded)
            self.assertIn('4001 "réason"', loaded.report["errors"]["closed_early"]["samples"][0])


class Websocket(Cases, Fragments, Subprotocol, unittest.TestCase):
    command = ["node", PEERS / "websocket_server.js"]


class Websockets(Cases, Fragments, Deflate, Subprotocol, unittest.TestCase):
    command = [sys.executable, PEERS / "websockets_server.py"]


class Tungstenite(Cases, unittest.TestCase):
    @property
    def command(self):
        return [ringway.tungstenite, "server"]
