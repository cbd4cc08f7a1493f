"""Peer: the Trio server of websockets.

Compression is off, the C speedups are on, keepalive is as by default. A send waits its turn on the recipient's own
lock, which is first come, first served, so that encryption order is sending order.
"""

import ssl
from functools import partial

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.server import Server, ServerConnection, serve

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
            await deliver(member, message)
    except ConnectionClosed:
        pass
    finally:
        member.leave()


async def deliver(member: Member[ServerConnection], message: bytes) -> None:
    """Send a message to all others, and the ack to its sender."""
    delivery, ack = member.read(message)
    for other in member.others():
        try:
            await other.connection.send(other.encrypt(delivery))
        except ConnectionClosed:
            continue
    await member.connection.send(member.encrypt(ack))


async def run(arguments: Arguments) -> None:
    """Serve until the process is told to stop."""
    tls: ssl.SSLContext | None = arguments.tls()
    async with trio.open_nursery() as nursery:
        start = partial(serve, serve_member, 0, host=HOST, backlog=BACKLOG, ssl=tls, compression=None)
        server: Server = await nursery.start(start)
        announce(server.listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    trio.run(run, read_arguments(__doc__))
