"""`websockets_server.py`: an echo server of the library websockets of Python on a port of the system,
which it prints. On the path /fragments it sends each message in three fragments, with a ping before
the second, and waits for the pong. On /chat it echoes only with the subprotocol chat. On /closing it
closes with 4001 and a reason after the first message."""

import asyncio

from websockets.asyncio.server import serve


async def echo(connection):
    if connection.request.path == "/chat" and connection.subprotocol != "chat":
        await connection.close(4002)
    async for message in connection:
        if connection.request.path == "/closing":
            await connection.close(4001, "r\u00e9ason")
            return
        if connection.request.path != "/fragments":
            await connection.send(message)
            continue
        cut = len(message) // 2

        async def parts(message=message, cut=cut):
            yield message[:cut]
            await (await connection.ping(b"between"))
            yield message[:0]
            yield message[cut:]

        await connection.send(parts())


async def main():
    def select(_connection, offered):
        return "chat" if "chat" in offered else None

    async with serve(echo, "127.0.0.1", 0, max_size=None, select_subprotocol=select) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
