"""Peer: websockets on asyncio with uvloop.

Compression is off, the C speedups are on, keepalive is as by default. `broadcast` is the library's own fast way to
write without waiting; every recipient has another ciphertext here, so it is called once for each of them.
"""

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from bench.peer_protocol import READY
from bench.servers.rooms import BACKLOG, HOST, announce, join, read_arguments, tls_of


async def _serve_member(connection: ServerConnection) -> None:
    member = join(await connection.recv(decode=False), connection)
    try:
        await connection.send(READY)
        while True:
            delivery, ack = member.read(await connection.recv(decode=False))
            for other in member.others():
                broadcast((other.connection,), other.encrypt(delivery))
            broadcast((connection,), member.encrypt(ack))
    except ConnectionClosed:
        member.leave()


async def _run() -> None:
    tls = tls_of(read_arguments(__doc__))
    async with serve(_serve_member, HOST, 0, compression=None, ssl=tls, backlog=BACKLOG) as server:
        announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_run())
