"""Peer: the Trio server of websockets.

Compression is off, the C speedups are on, keepalive is as by default. A send waits its turn on the recipient's own
lock, which is first come, first served, so that encryption order is sending order.
"""

from functools import partial

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.server import ServerConnection, serve

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
                try:
                    await other.connection.send(other.encrypt(delivery))
                except ConnectionClosed:
                    continue
            await connection.send(member.encrypt(ack))
    except ConnectionClosed:
        pass
    finally:
        member.leave()


async def _run(arguments: Arguments) -> None:
    start = partial(serve, _serve_member, 0, host=HOST, backlog=BACKLOG, ssl=arguments.tls(), compression=None)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(start)
        announce(server.listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    trio.run(_run, read_arguments(__doc__))
