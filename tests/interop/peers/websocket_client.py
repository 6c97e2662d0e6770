"""`websocket_client.py URL CASE`: one connection of the library websocket-client of Python."""

import os

import case
import websocket
from websocket import ABNF


def echo(url):
    client = websocket.create_connection(url)
    for size in case.SIZES:
        binary, text = os.urandom(size), "é" * (size // 2)
        client.send_binary(binary)
        case.check("echo", client.recv_data(), (ABNF.OPCODE_BINARY, binary))
        client.send_text(text)
        case.check("echo", client.recv_data(), (ABNF.OPCODE_TEXT, text.encode()))
    client.close()


def fragments(url):
    client = websocket.create_connection(url)
    parts = [os.urandom(size) for size in case.FRAGMENT_SIZES]
    for number, part in enumerate(parts):
        opcode = ABNF.OPCODE_CONT if number else ABNF.OPCODE_BINARY
        client.send_frame(ABNF.create_frame(part, opcode, fin=int(part is parts[-1])))
        if number == 2:
            client.ping("between")
    opcode, frame = client.recv_data_frame(control_frame=True)
    case.check("pong between fragments", (opcode, frame.data), (ABNF.OPCODE_PONG, b"between"))
    case.check("fragments", client.recv_data(), (ABNF.OPCODE_BINARY, b"".join(parts)))
    client.close()


def ping(url):
    client = websocket.create_connection(url)
    client.ping("payload")
    opcode, frame = client.recv_data_frame(control_frame=True)
    case.check("pong", (opcode, frame.data), (ABNF.OPCODE_PONG, b"payload"))
    client.close()


def pinged(url):
    client = websocket.create_connection(url)
    client.send("/ping payload")
    opcode, frame = client.recv_data_frame(control_frame=True)
    case.check("ping", (opcode, frame.data), (ABNF.OPCODE_PING, b"payload"))
    case.check("answer to the pong", client.recv(), "pong payload")
    client.close()


def subprotocol(url):
    client = websocket.create_connection(url, subprotocols=["chat", "superchat"])
    case.check("subprotocol", client.getsubprotocol(), "chat")
    client.close()


def close(url):
    client = websocket.create_connection(url)
    client.send_close(4321, "réason".encode())
    case.check("code of the answer", client.recv_data()[1][:2], (4321).to_bytes(2, "big"))
    client.shutdown()


def closed(url):
    client = websocket.create_connection(url)
    client.send("/close 4444 réason")
    opcode, payload = client.recv_data()
    case.check("close frame", (opcode, payload[:2], payload[2:].decode()),
               (ABNF.OPCODE_CLOSE, (4444).to_bytes(2, "big"), "réason"))  # fmt: skip
    client.shutdown()


CASES = [echo, fragments, ping, pinged, subprotocol, close, closed]
case.run({function.__name__: function for function in CASES})
