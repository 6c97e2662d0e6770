"""The library websockets of Python, which uses OpenSSL, as client and as server.

Its interface for threads is not used: with Python 3.11 its opening handshake stalled at times, also
with nginx alone, before nginx had connected to the server behind it.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import ssl
import threading
import unittest

import recorder
import ringway
import wire
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

MIB = 1 << 20


def client_context(ca="ca.pem"):
    return ssl.create_default_context(cafile=ringway.file(ca))


class Client(unittest.IsolatedAsyncioTestCase):
    async def test_echoes_of_all_sizes_and_kinds(self):
        with ringway.serve_tls() as server:
            async with connect(server.url, ssl=client_context(), max_size=None) as client:
                self.assertEqual(client.transport.get_extra_info("ssl_object").version(), "TLSv1.3")
                self.assertEqual(client.response.headers["Upgrade"], "websocket")
                texts = ["", "text", "\u00e9\u20ac\U0001f600" * 1000]
                for message in [*texts, b"", b"binary", os.urandom(70_000), os.urandom(MIB)]:
                    await client.send(message)
                    self.assertEqual(await client.recv(), message)

    async def test_a_fragmented_message(self):
        fragments = [os.urandom(size) for size in (1, 0, 16_383, 16_384, 16_385, 100_000)]
        with ringway.serve_tls() as server:
            async with connect(server.url, ssl=client_context(), max_size=None) as client:
                await client.send(iter(fragments))
                self.assertEqual(await client.recv(), b"".join(fragments))

    async def test_many_messages_in_flight(self):
        messages = [os.urandom(number * 37 % 5000) for number in range(500)]
        with ringway.serve_tls() as server:
            async with connect(server.url, ssl=client_context()) as client:
                async def send_all():
                    for message in messages:
                        await client.send(message)

                sender = asyncio.create_task(send_all())
                for number, message in enumerate(messages):
                    self.assertEqual(await client.recv(), message, f"message {number}")
                await sender

    async def test_compressed_messages(self):
        with ringway.serve_tls("--deflate", "takeover") as server:
            async with connect(server.url, ssl=client_context(), max_size=None) as client:
                self.assertIn("permessage-deflate", client.response.headers["Sec-WebSocket-Extensions"])
                for message in ["text " * 5000, b"\0" * MIB, os.urandom(100_000)]:
                    await client.send(message)
                    self.assertEqual(await client.recv(), message)

    async def test_close_codes_are_answered(self):
        with ringway.serve_tls() as server:
            for code, reason in [(1000, ""), (1001, "going away"), (3000, "registered"), (4999, "private")]:
                with self.subTest(code=code):
                    async with connect(server.url, ssl=client_context()) as client:
                        await client.close(code, reason)
                    self.assertEqual(client.protocol.close_rcvd.code, code)

    async def test_invalid_text_is_answered_with_1007(self):
        with ringway.serve_tls() as server:
            async with connect(server.url, ssl=client_context()) as client:
                await client.send(b"\xff\xfe", text=True)
                with self.assertRaises(ConnectionClosed) as closed:
                    await client.recv()
                self.assertEqual(closed.exception.rcvd.code, 1007)

    async def test_a_ping_is_answered(self):
        with ringway.serve_tls() as server:
            async with connect(server.url, ssl=client_context()) as client:
                # Without a pong, this waits for ever.
                await (await client.ping(b"payload"))

    async def test_an_unknown_issuer_is_refused(self):
        with ringway.serve_tls() as server:
            with self.assertRaisesRegex(ssl.SSLCertVerificationError, "certificate verify failed"):
                await connect(server.url, ssl=client_context("client-ca.pem"))

    def test_close_notify_follows_the_close_frame(self):
        """Python raises `SSLEOFError` at a TCP end without close_notify."""
        with ringway.serve_tls() as server:
            with socket.create_connection(("127.0.0.1", server.port)) as tcp:
                context = client_context()
                with context.wrap_socket(tcp, server_hostname="localhost", suppress_ragged_eofs=False) as tls:
                    tls.sendall(wire.REQUEST)
                    received = b""
                    while b"\r\n\r\n" not in received:
                        received += tls.recv(4096)
                    # A close frame with the code 1000.
                    tls.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
                    received = b""
                    while content := tls.recv(4096):
                        received += content
                    self.assertEqual(received, b"\x88\x02\x03\xe8")


@contextlib.contextmanager
def echo_server(configure=lambda context: None):
    """An echo server with the test certificate, in a thread. Yields its port, and a list with one
    entry for each connection: whether it resumed a session."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ringway.file("server.pem"), ringway.file("server.key"))
    configure(context)
    reused = []

    async def echo(connection):
        reused.append(connection.transport.get_extra_info("ssl_object").session_reused)
        async for message in connection:
            await connection.send(message)

    async def run(started):
        stop = asyncio.Event()
        async with serve(echo, "127.0.0.1", 0, ssl=context, max_size=None) as server:
            port = server.sockets[0].getsockname()[1]
            started.set_result((port, asyncio.get_running_loop(), stop))
            await stop.wait()

    started = concurrent.futures.Future()
    thread = threading.Thread(target=lambda: asyncio.run(run(started)))
    thread.start()
    port, loop, stop = started.result()
    try:
        yield port, reused
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


class Server(unittest.TestCase):
    def test_load_exchanges_messages(self):
        ca = ["--cacert", ringway.file("ca.pem")]
        with echo_server() as (port, _):
            for size in ["20", "16K", "100K", "1M"]:
                with self.subTest(size=size):
                    ringway.check_load(self, f"wss://localhost:{port}/", *ca, "-s", size, "--binary")
            ringway.check_load(self, f"wss://127.0.0.1:{port}/", *ca)

    def test_load_over_tls_1_2(self):
        def tls12(context):
            context.maximum_version = ssl.TLSVersion.TLSv1_2

        with echo_server(tls12) as (port, _):
            report = ringway.check_load(self, f"wss://localhost:{port}/", "--cacert", ringway.file("ca.pem"))
            self.assertEqual([session["version"] for session in report["tls"]["sessions"]], ["TLS 1.2"])

    def test_load_resumes_sessions(self):
        with echo_server() as (port, reused), recorder.record(port) as relay:
            options = ["--cacert", ringway.file("ca.pem"), "--resume", "-r", "20"]
            report = ringway.check_load(self, f"wss://localhost:{relay.port}/", *options, connections=20, messages=100)
            recorder.check_resumed(self, relay, "ringway load")
            counted = {"full": reused.count(False), "resumed": reused.count(True)}
            self.assertEqual({key: report["tls"][key] for key in counted}, counted, "the report and the server differ")

    def test_load_refuses_an_unknown_issuer_and_another_name(self):
        with echo_server() as (port, _):
            for options, text in [
                (["--cacert", ringway.file("client-ca.pem")], "--cacert"),
                (["--cacert", ringway.file("ca.pem"), "--servername", "other.example"], "other.example"),
            ]:
                loaded = ringway.load(f"wss://localhost:{port}/", *options)
                self.assertEqual(loaded.status, 1, loaded)
                self.assertIn(text, loaded.stderr)

    def test_load_sends_its_certificate(self):
        def require(context):
            context.load_verify_locations(ringway.file("client-ca.pem"))
            context.verify_mode = ssl.CERT_REQUIRED

        with echo_server(require) as (port, _):
            url, ca = f"wss://localhost:{port}/", ["--cacert", ringway.file("ca.pem")]
            certificate = ["--cert", ringway.file("client.pem"), "--key", ringway.file("client.key")]
            ringway.check_load(self, url, *ca, *certificate)
            self.assertEqual(ringway.load(url, *ca).status, 1)
