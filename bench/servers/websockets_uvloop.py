"""Peer: websockets on asyncio with uvloop.

Compression is off, the C speedups are on, keepalive is as by default. `broadcast` is the library's own fast way to
write without waiting; every recipient has another ciphertext here, so it is called once for each of them.
"""

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from bench.peer_protocol import READY
from bench.servers.rooms import BACKLOG, HOST, Arguments, Rooms, announce, read_arguments

ROOMS: Rooms[ServerConnection] = Rooms()


async def _serve_member(connection: ServerConnection) -> None:
    member = ROOMS.join(await connection.recv(decode=False), connection)
    try:
        await connection.send(READY)
        async for message in connection:
            assert isinstance(message, bytes)
            delivery, ack = member.read(message)
            for other in member.others():
                broadcast((other.connection,), other.encrypt(delivery))
            broadcast((connection,), member.encrypt(ack))
    except ConnectionClosed:
        pass
    finally:
        member.leave()


async def _run(arguments: Arguments) -> None:
    async with serve(_serve_member, HOST, 0, compression=None, ssl=arguments.tls(), backlog=BACKLOG) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_run(read_arguments(__doc__)))
