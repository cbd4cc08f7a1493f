"""Peer: trio-websocket.

Nothing to switch: it has no compression unless asked, and no keepalive of its own. A send waits its turn on the
recipient's own lock, which is strictly first come, first served.
"""

from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from bench.servers.rooms import HOST, announce, read_arguments, serve_member, tls_of


async def _serve(request: WebSocketRequest) -> None:
    connection = await request.accept()
    await serve_member(connection.get_message, connection.send_message, ConnectionClosed)


async def _run() -> None:
    start = partial(serve_websocket, _serve, HOST, 0, ssl_context=tls_of(read_arguments(__doc__)))
    async with trio.open_nursery() as nursery:
        announce((await nursery.start(start)).port)


if __name__ == "__main__":
    trio.run(_run)
