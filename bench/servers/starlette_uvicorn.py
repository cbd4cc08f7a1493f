"""Peer: Starlette on uvicorn with uvloop.

The WebSocket side is uvicorn's `websockets-sansio`: what `auto` picks, and what uvicorn asks to use instead of its
older one. Compression and access log are off, keepalive is as by default.
"""

import asyncio
import socket

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.peer_protocol import READY
from bench.servers.rooms import BACKLOG, HOST, Arguments, Rooms, announce, read_arguments

ROOMS: Rooms[WebSocket] = Rooms()


async def _serve_member(connection: WebSocket) -> None:
    await connection.accept()
    member = ROOMS.join(await connection.receive_bytes(), connection)
    try:
        await connection.send_bytes(READY)
        while True:
            delivery, ack = member.read(await connection.receive_bytes())
            for other in member.others():
                await other.connection.send_bytes(other.encrypt(delivery))
            await connection.send_bytes(member.encrypt(ack))
    except WebSocketDisconnect:
        pass
    finally:
        member.leave()


async def _run(arguments: Arguments) -> None:
    listener = socket.create_server((HOST, 0), backlog=BACKLOG)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", _serve_member)]),
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ssl_certfile=arguments.certificate,
        ssl_keyfile=arguments.key,
        backlog=BACKLOG,
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
    announce(listener.getsockname()[1])
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(_run(read_arguments(__doc__)))
