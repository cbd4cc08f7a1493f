"""Peer: the Trio server of websockets.

Compression is off, the C speedups are on, keepalive is as by default. A send waits its turn on the recipient's own
lock, which is first come, first served, so that encryption order is sending order.
"""

from functools import partial

import trio
from websockets.exceptions import ConnectionClosed
from websockets.trio.server import ServerConnection, serve

from bench.servers.rooms import BACKLOG, HOST, announce, read_arguments, serve_member, tls_of


async def _serve(connection: ServerConnection) -> None:
    await serve_member(connection.recv, connection.send, ConnectionClosed)


async def _run() -> None:
    tls = tls_of(read_arguments(__doc__))
    async with trio.open_nursery() as nursery:
        start = partial(serve, _serve, 0, host=HOST, backlog=BACKLOG, ssl=tls, compression=None)
        announce((await nursery.start(start)).listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    trio.run(_run)
