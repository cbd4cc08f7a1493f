"""Peer: picows (Cython) on uvloop.

As its documentation advises: the whole server is plain callbacks, payloads are read as memoryview without a copy, and
`transport.send` goes straight to the socket while it takes more. Auto-ping stays off, as it is by default.
"""

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from bench.peer_protocol import READY
from bench.servers.rooms import BACKLOG, HOST, Arguments, Member, Rooms, announce, read_arguments

BINARY = WSMsgType.BINARY
ROOMS: Rooms[WSTransport] = Rooms()


class Listener(WSListener):
    """One connection."""

    def __init__(self) -> None:
        super().__init__()
        self._member: Member[WSTransport] | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Deliver a message, or join a room with the first one."""
        if frame.msg_type is not BINARY:
            transport.disconnect()
        elif self._member is None:
            self._member = ROOMS.join(frame.get_payload_as_bytes(), transport)
            transport.send(BINARY, READY)
        else:
            delivery, ack = self._member.read(frame.get_payload_as_memoryview())
            for other in self._member.others():
                other.connection.send(BINARY, other.encrypt(delivery))
            transport.send(BINARY, self._member.encrypt(ack))

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - the library calls it so
        """The connection is over."""
        if self._member is not None:
            self._member.leave()


async def _run(arguments: Arguments) -> None:
    server = await ws_create_server(lambda _: Listener(), HOST, 0, ssl=arguments.tls(), backlog=BACKLOG)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_run(read_arguments(__doc__)))
