"""Peer: trio-websocket.

Nothing to switch: it has no compression unless asked, and no keepalive of its own. A send waits its turn on the
recipient's own lock, which is strictly first come, first served.
"""

from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from bench.peer_protocol import READY
from bench.servers.rooms import HOST, Arguments, Rooms, announce, read_arguments

ROOMS: Rooms[WebSocketConnection] = Rooms()


async def _serve_member(request: WebSocketRequest) -> None:
    connection = await request.accept()
    member = ROOMS.join(await _receive(connection), connection)
    try:
        await connection.send_message(READY)
        while True:
            delivery, ack = member.read(await _receive(connection))
            for other in member.others():
                try:
                    await other.connection.send_message(other.encrypt(delivery))
                except ConnectionClosed:
                    continue
            await connection.send_message(member.encrypt(ack))
    except ConnectionClosed:
        pass
    finally:
        member.leave()


async def _receive(connection: WebSocketConnection) -> bytes:
    message = await connection.get_message()
    assert isinstance(message, bytes)
    return message


async def _run(arguments: Arguments) -> None:
    async with trio.open_nursery() as nursery:
        start = partial(serve_websocket, _serve_member, HOST, 0, ssl_context=arguments.tls())
        announce((await nursery.start(start)).port)


if __name__ == "__main__":
    trio.run(_run, read_arguments(__doc__))
