"""Echo on picows' core API, on uvloop: `python echo.py PORT`."""

import logging
import resource
import sys

import picows
import uvloop


class Echo(picows.WSListener):
    """Echoes each frame with its opcode and FIN bit, which preserves the kind of fragmented
    messages."""

    def on_ws_frame(self, transport, frame):
        kind = frame.msg_type
        if kind == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif kind != picows.WSMsgType.PONG:
            transport.send(kind, frame.get_payload_as_memoryview(), frame.fin)


async def main(port):
    server = await picows.ws_create_server(
        lambda request: Echo(),
        "127.0.0.1",
        port,
        backlog=65535,
        max_frame_size=16 << 20,
    )
    await server.serve_forever()


# Without it, each client that disconnects with replies in flight is logged.
logging.disable(logging.CRITICAL)
hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
uvloop.run(main(int(sys.argv[1])))
