"""`websockets_client.py URL CASE`: one connection of the library websockets of Python."""

import asyncio
import os

import case
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode


async def echo(url):
    async with connect(url, max_size=None) as client:
        for size in case.SIZES:
            for message in [os.urandom(size), "é" * (size // 2)]:
                await client.send(message)
                case.check("echo", await client.recv(), message)


async def deflate(url):
    async with connect(url, max_size=None) as client:
        case.check("extensions", [extension.name for extension in client.protocol.extensions], ["permessage-deflate"])
        for message in ["compressible " * 100_000, b"\0" * (1 << 20), os.urandom(100_000), ""]:
            for _ in range(3):
                await client.send(message)
                case.check("echo", await client.recv(), message)
        await client.send(["one ", "two ", "", "three!"])
        case.check("fragments", await client.recv(), "one two three!")


async def fragments(url):
    async with connect(url, max_size=None, compression=None) as client:
        parts = [os.urandom(size) for size in case.FRAGMENT_SIZES]

        async def with_a_ping_between():
            for number, part in enumerate(parts):
                if number == 3:
                    await (await client.ping(b"between"))
                yield part

        await client.send(with_a_ping_between())
        case.check("fragments", await client.recv(), b"".join(parts))


async def ping(url):
    async with connect(url) as client:
        # Without a pong with this payload, this waits for ever.
        await (await client.ping(b"payload"))


async def pinged(url):
    async with connect(url) as client:
        await client.send("/ping payload")
        case.check("answer to the pong", await client.recv(), "pong payload")


async def subprotocol(url):
    async with connect(url, subprotocols=["chat", "superchat"]) as client:
        case.check("subprotocol", client.subprotocol, "chat")


async def close(url):
    async with connect(url) as client:
        await client.close(4321, "réason")
    case.check("code of the answer", client.protocol.close_rcvd.code, 4321)


async def closed(url):
    async with connect(url) as client:
        await client.send("/close 4444 réason")
        try:
            await client.recv()
        except ConnectionClosed as error:
            case.check("close frame", (error.rcvd.code, error.rcvd.reason), (4444, "réason"))
            return
        raise AssertionError("a message was received instead of a close frame")


async def idle(url):
    """Receives pings of the server, sends nothing else, and then gets an echo."""
    pings = 0
    async with connect(url, ping_interval=None) as client:
        enough = asyncio.Event()
        handle = client.protocol.recv_frame

        def count(frame):
            nonlocal pings
            pings += frame.opcode is Opcode.PING
            if pings == 4:
                enough.set()
            handle(frame)

        client.protocol.recv_frame = count
        await enough.wait()
        await client.send("still open")
        case.check("echo", await client.recv(), "still open")


async def dropped(url):
    """Sends nothing, and receives the end of the connection without a close frame."""
    async with connect(url, ping_interval=None) as client:
        try:
            await client.recv()
        except ConnectionClosed as error:
            case.check("close frame", error.rcvd, None)
            return
        raise AssertionError("a message was received")


CASES = [echo, deflate, fragments, ping, pinged, subprotocol, close, closed, idle, dropped]
case.run({function.__name__: lambda url, function=function: asyncio.run(function(url)) for function in CASES})
