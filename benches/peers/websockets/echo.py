"""Echo on websockets, on uvloop: `python echo.py PORT`."""

import logging
import resource
import sys

import uvloop
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


async def main(port):
    server = await serve(
        echo,
        "127.0.0.1",
        port,
        backlog=65535,
        compression=None,
        ping_interval=None,
        open_timeout=None,
        max_size=16 << 20,
        max_queue=None,
    )
    await server.serve_forever()


# Without it, each client that disconnects with replies in flight is logged.
logging.disable(logging.CRITICAL)
hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
uvloop.run(main(int(sys.argv[1])))
