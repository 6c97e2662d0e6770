"""Captures of `ringway serve --trace-frames` and `ringway connect --pcap`, decoded by tshark."""

import contextlib
import itertools
import os
import ssl
import subprocess
import unittest
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import processes
import ringway
from websockets.asyncio.client import connect, unix_connect
from websockets.frames import Opcode

_numbers = itertools.count(1)

MIB = 1 << 20


def capture_file():
    """The path of a new capture."""
    return ringway.file(f"trace-{next(_numbers)}.pcap")


@dataclass(frozen=True)
class Frame:
    """A frame as tshark decodes it."""

    by_server: bool
    opcode: int
    payload: bytes
    fin: bool = True
    compressed: bool = False


def tshark(capture, *options):
    """The output of tshark, which must have nothing to complain about."""
    command = ["tshark", "-n", "-r", capture, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise processes.Failure(f"{' '.join(command)}: {done.stderr.decode()}")
    return done.stdout


def rows(capture, condition, *fields):
    """The fields of each packet that fulfils the condition."""
    options = [f"-e{field}" for field in fields]
    output = tshark(capture, "-Y", condition, "-Tfields", *options).decode()
    return [tuple(line.split("\t")) for line in output.splitlines()]


def field(proto, name):
    """A field of a protocol at any depth, or None."""
    return next((field for field in proto.iter("field") if field.get("name") == name), None)


def raw(found):
    """The bytes of a field."""
    return bytes.fromhex(found.get("value"))


def payload_of(proto, data):
    """The payload of a frame. `data`: the protocol that tshark has passed it to, or None."""
    code, reason = (field(proto, f"websocket.payload.close.{name}") for name in ("status_code", "reason"))
    if code is not None:
        return int(code.get("show")).to_bytes(2, "big") + (b"" if reason is None else reason.get("show").encode())
    for name in ("text", "continue", "ping", "pong"):
        found = field(proto, f"websocket.payload.{name}")
        if found is not None:
            return raw(found)
    found = None if data is None else field(data, "data.data")
    return b"" if found is None else raw(found)


def frames(capture):
    """The source port, the target port and the frame of each WebSocket frame of a capture."""
    decoded = []
    for packet in ElementTree.fromstring(tshark(capture, "-Y", "websocket", "-Tpdml")).iter("packet"):
        protos = list(packet.iter("proto"))
        source, target = (
            int(field(proto, name).get("show"))
            for proto in protos
            if proto.get("name") == "tcp"
            for name in ("tcp.srcport", "tcp.dstport")
        )
        for proto, following in itertools.zip_longest(protos, protos[1:]):
            if proto.get("name") != "websocket":
                continue
            fin, rsv, opcode, mask = (
                int(field(proto, f"websocket.{name}").get("show"), 0) for name in ("fin", "rsv", "opcode", "mask")
            )
            # What tshark has no dissector for is wrapped.
            is_data = following is not None and following.get("name") in ("data", "fake-field-wrapper")
            payload = payload_of(proto, following if is_data else None)
            frame = Frame(not mask, opcode, payload, fin=bool(fin), compressed=rsv == 4)
            decoded.append((source, target, frame))
    return decoded


class Captures(unittest.IsolatedAsyncioTestCase):
    def check_stream(self, capture, port, connections=1):
        """The TCP of the capture is faultless, and the handshake is decoded."""
        faults = "tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0 || _ws.malformed"
        self.assertEqual(rows(capture, faults, "frame.number", "_ws.expert.message"), [])
        requests = rows(capture, "http.request", "tcp.dstport", "http.request.method", "http.upgrade")
        self.assertEqual(requests, [(str(port), "GET", "websocket")] * connections)
        self.assertEqual(rows(capture, "http.response", "tcp.srcport", "http.response.code"),
                         [(str(port), "101")] * connections)  # fmt: skip
        for flags in ("tcp.flags.syn == 1", "tcp.flags.fin == 1"):
            self.assertEqual(len(rows(capture, flags, "frame.number")), 2 * connections, flags)

    def check_frames(self, capture, port, expected):
        decoded = frames(capture)
        for source, target, frame in decoded:
            self.assertEqual((source if frame.by_server else target), port, "only clients mask")
        self.assertEqual(len(decoded), len(expected))
        for at, ((_, _, frame), due) in enumerate(zip(decoded, expected)):
            # Long payloads are not to be printed.
            self.assertTrue(frame == due, f"frame {at}: {str(frame)[:200]} is not {str(due)[:200]}")

    async def converse(self, client, compressed):
        """Exchanges messages of all kinds with an echo server. Returns the frames of both."""
        sent = []

        async def echo(opcode, message, *, by_client=compressed, by_server=compressed):
            await client.send(message)
            self.assertEqual(await client.recv(), message)
            payload = message.encode() if isinstance(message, str) else message
            sent.append(Frame(False, opcode, payload, compressed=by_client))
            sent.append(Frame(True, opcode, payload, compressed=by_server))

        await echo(Opcode.TEXT, "text, \u00e9\u20ac " * 40)
        await echo(Opcode.BINARY, bytes(range(256)))
        # The server does not compress what is short.
        await echo(Opcode.TEXT, "short", by_server=False)
        await (await client.ping(b"are you there"))
        sent += [Frame(False, Opcode.PING, b"are you there"), Frame(True, Opcode.PONG, b"are you there")]
        # More than fits into a segment.
        await echo(Opcode.BINARY, os.urandom(MIB // 8) + bytes(MIB // 8))
        await client.close(4001, "bye")
        code = (4001).to_bytes(2, "big")
        return [*sent, Frame(False, Opcode.CLOSE, code + b"bye"), Frame(True, Opcode.CLOSE, code)]

    @contextlib.contextmanager
    def tracing(self, *options, **listen):
        """A server that traces. The capture is complete when the block is left."""
        capture = capture_file()
        with ringway.serve("--trace-frames", capture, *options, **listen) as server:
            yield server, capture
            server.stop()
            self.assertEqual(server.child.wait(), 0)

    async def test_what_a_server_sees(self):
        for tls, compressed in itertools.product((False, True), (False, True)):
            with self.subTest(tls=tls, compressed=compressed):
                options = [*(ringway.identity("server") if tls else []), *(["--deflate"] if compressed else [])]
                context = ssl.create_default_context(cafile=ringway.file("ca.pem")) if tls else None
                with self.tracing(*options) as (server, capture):
                    url = server.url if tls else server.plain_url
                    compression = "deflate" if compressed else None
                    async with connect(url, ssl=context, compression=compression, max_size=None) as client:
                        expected = await self.converse(client, compressed)
                self.check_stream(capture, server.port)
                self.check_frames(capture, server.port, expected)

    async def test_fragments(self):
        with self.tracing() as (server, capture):
            async with connect(server.plain_url, compression=None) as client:
                await client.send(iter(["in ", "three ", "frames"]))
                self.assertEqual(await client.recv(), "in three frames")
        decoded = [(frame.by_server, frame.opcode, frame.fin) for _, _, frame in frames(capture)[:5]]
        client_frames = [(False, Opcode.TEXT, False), (False, Opcode.CONT, False), (False, Opcode.CONT, False)]
        # An empty last fragment ends an iterator of unknown length.
        self.assertEqual(decoded, [*client_frames, (False, Opcode.CONT, True), (True, Opcode.TEXT, True)])

    async def test_several_connections_one_after_another_and_ipv6(self):
        for listen, host in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")]:
            with self.tracing("--trace-connection", "2", listen=listen) as (server, capture):
                for text in ("first", "second", "third"):
                    async with connect(f"ws://{host}:{server.port}/", compression=None) as client:
                        await client.send(text)
                        self.assertEqual(await client.recv(), text)
            self.check_stream(capture, server.port, connections=2)
            texts = [(frame.by_server, frame.payload) for _, _, frame in frames(capture) if frame.opcode == Opcode.TEXT]
            self.assertEqual(texts, [(False, b"first"), (True, b"first"), (False, b"second"), (True, b"second")])

    async def test_a_unix_socket_has_placeholders(self):
        path = ringway.file("trace.sock")
        with self.tracing(listen=f"unix:{path}") as (_, capture):
            async with unix_connect(path, "ws://localhost/", compression=None) as client:
                await client.send("local")
                self.assertEqual(await client.recv(), "local")
        self.check_stream(capture, 80)
        self.assertEqual(rows(capture, "http.request", "ip.src", "ip.dst"), [("192.0.2.1", "192.0.2.2")])

    async def test_what_a_client_sees(self):
        messages = ["one", "two " * 200, "three"]
        for tls, compressed in itertools.product((False, True), (False, True)):
            with self.subTest(tls=tls, compressed=compressed):
                capture, serve = capture_file(), ringway.serve_tls if tls else ringway.serve
                with serve(*(["--deflate"] if compressed else [])) as server:
                    url = server.url if tls else server.plain_url
                    options = [*(["--cacert", ringway.file("ca.pem")] if tls else []), *(["--deflate"] if compressed else [])]
                    command = [ringway.program, "connect", url, "-n", "3", "--pcap", capture, *options]
                    typed = "".join(f"{message}\n" for message in messages)
                    done = subprocess.run(command, input=typed, stdout=subprocess.PIPE, text=True, check=False)
                    self.assertEqual((done.returncode, done.stdout), (0, typed))
                self.check_stream(capture, server.port)
                decoded = [frame for _, _, frame in frames(capture)]
                is_long = [compressed and len(message) > 100 for message in messages]
                for by_server in (False, True):
                    expected = [
                        Frame(by_server, Opcode.TEXT, message.encode(), compressed=is_compressed)
                        for message, is_compressed in zip(messages, is_long)
                    ]
                    closes = [Frame(by_server, Opcode.CLOSE, (1000).to_bytes(2, "big"))]
                    self.assertEqual([frame for frame in decoded if frame.by_server == by_server], expected + closes)


if __name__ == "__main__":
    unittest.main()
