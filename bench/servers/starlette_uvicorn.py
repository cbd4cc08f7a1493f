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

from bench.servers.rooms import BACKLOG, HOST, announce, read_arguments, serve_member


async def _serve(connection: WebSocket) -> None:
    await connection.accept()
    await serve_member(connection.receive_bytes, connection.send_bytes, WebSocketDisconnect)


async def _run() -> None:
    arguments, listener = read_arguments(__doc__), socket.create_server((HOST, 0), backlog=BACKLOG)
    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/", _serve)]),
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
        runner.run(_run())
