"""Peer: websockets on asyncio with uvloop.

Compression is off, the C speedups are on, keepalive is as by default. `broadcast` is the library's own fast way to
write without waiting; every recipient has another ciphertext here, so it is called once for each of them.
"""

import asyncio

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from bench.peer_protocol import READY
from bench.servers.program import BACKLOG, HOST, Arguments, announce, read_arguments
from bench.servers.rooms import Member, Rooms

ROOMS: Rooms[ServerConnection] = Rooms()


async def serve_member(connection: ServerConnection) -> None:
    """Serve one connection."""
    hello = await connection.recv(decode=False)
    member = ROOMS.join(hello, connection)
    try:
        await connection.send(READY)
        async for message in connection:
            assert isinstance(message, bytes)
            deliver(member, message)
    except ConnectionClosed:
        pass
    finally:
        member.leave()


def deliver(member: Member[ServerConnection], message: bytes) -> None:
    """Send a message to all others, and the ack to its sender."""
    delivery, ack = member.read(message)
    for other in member.others():
        broadcast((other.connection,), other.encrypt(delivery))
    broadcast((member.connection,), member.encrypt(ack))


async def run(arguments: Arguments) -> None:
    """Serve until the process is told to stop."""
    async with serve(serve_member, HOST, 0, compression=None, ssl=arguments.tls(), backlog=BACKLOG) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(run(read_arguments(__doc__)))
