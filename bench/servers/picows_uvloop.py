"""Peer: picows (Cython) on uvloop.

As its documentation advises: the whole server is plain callbacks, payloads are read as memoryview without a copy, and
`transport.send` goes straight to the socket while it takes more. Auto-ping stays off, as it is by default.
Never imported by the generator.
"""

import asyncio

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from bench.peer_wire import READY
from bench.servers.program import BACKLOG, HOST, Arguments, announce, read_arguments
from bench.servers.seats import Seat, Seats

BINARY = WSMsgType.BINARY
SEATS: Seats[WSTransport] = Seats()


class Member(WSListener):
    """One connection."""

    def __init__(self) -> None:
        super().__init__()
        self._seat: Seat[WSTransport] | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Deliver a message, or take a seat with the first one."""
        if frame.msg_type is not BINARY:
            transport.disconnect()
        elif self._seat is None:
            self._seat = SEATS.take(frame.get_payload_as_bytes(), transport)
            transport.send(BINARY, READY)
        else:
            self._deliver(self._seat, frame.get_payload_as_memoryview())

    def _deliver(self, seat: Seat[WSTransport], message: memoryview) -> None:
        delivery, ack = seat.read(message)
        for other in seat.others():
            other.connection.send(BINARY, other.seal(delivery))
        seat.connection.send(BINARY, seat.seal(ack))

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - the library calls it so
        """Give the seat free."""
        if self._seat is not None:
            self._seat.leave()


def _listen(_: WSUpgradeRequest) -> Member:
    return Member()


async def run(arguments: Arguments) -> None:
    """Serve until the process is told to stop."""
    server = await ws_create_server(_listen, HOST, 0, ssl=arguments.tls(), backlog=BACKLOG)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(run(read_arguments(__doc__)))
