"""The lists of peers: echo servers, and servers that send each message to all connections. `install` installs one and
returns its command without the port argument."""

from functools import partial
from typing import Callable, NamedTuple

import install


class Peer(NamedTuple):
    name: str
    version: str
    about: str
    install: Callable[[], list]


def rust(name, about, library=None):
    return Peer(name, install.rust_version(library or name), about, partial(install.rust, name))


PEERS = [
    rust("fastwebsockets", "Rust, tokio; upgrade by hyper"),
    rust("tokio-websockets", "Rust, tokio"),
    rust("tokio-tungstenite", "Rust, tokio"),
    rust("ringway-aio", "Rust, tokio-uring; crates/aio of this repository"),
    rust("axum", "Rust, tokio; tokio-tungstenite on hyper"),
    Peer("ws", "8.23.0", "JavaScript, Node.js, with bufferutil", install.ws),
    Peer("bun", "1.4.5", "JavaScript, Bun.serve on uWebSockets", partial(install.bun, "echo.js")),
    Peer("websockets", "17.4", "Python, uvloop", partial(install.python, "websockets", "websockets.speedups")),
    Peer("picows", "2.3.1", "Python and Cython, uvloop", partial(install.python, "picows", "picows.picows")),
    Peer("gorilla", "Debian's", "Go, gorilla/websocket", install.gorilla),
    Peer("libwebsockets", "Debian's", "C", install.libwebsockets),
]

FANOUT_PEERS = [
    rust("tokio-broadcast", "Rust, tokio's broadcast channel with tokio-websockets", "tokio-websockets"),
    Peer("bun-publish", "1.4.5", "JavaScript, publish of Bun.serve on uWebSockets", partial(install.bun, "fanout.js")),
]
