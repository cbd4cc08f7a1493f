"""Peer: picows (Cython) on uvloop.

As its documentation advises: the whole server is plain callbacks, payloads are read as memoryview without a copy, and
`transport.send` goes straight to the socket while it takes more. Auto-ping stays off, as it is by default.
"""

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from bench.peer_protocol import READY
from bench.servers.rooms import BACKLOG, HOST, Member, announce, join, read_arguments, tls_of

BINARY = WSMsgType.BINARY


class Listener(WSListener):
    """One connection."""

    member: Member[WSTransport] | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Deliver a message, or join a room with the first one."""
        if frame.msg_type is not BINARY:
            transport.disconnect()
        elif self.member is None:
            self.member = join(frame.get_payload_as_bytes(), transport)
            transport.send(BINARY, READY)
        else:
            delivery, ack = self.member.read(frame.get_payload_as_memoryview())
            for other in self.member.others():
                other.connection.send(BINARY, other.encrypt(delivery))
            transport.send(BINARY, self.member.encrypt(ack))

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - the library calls it so
        """The connection is over."""
        if self.member is not None:
            self.member.leave()


async def _run() -> None:
    tls = tls_of(read_arguments(__doc__))
    server = await ws_create_server(lambda _: Listener(), HOST, 0, ssl=tls, backlog=BACKLOG)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_run())
