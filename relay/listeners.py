"""Accepting connections.

Refuses to die of what a newcomer or an exhausted table of open files does to `accept`.
"""

import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import trio

Serve = Callable[[trio.SocketStream, str], Awaitable[None]]

EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
BREATHER: Final = 0.1
"""Seconds without accepting when there is nothing to accept with; meanwhile the kernel queues, then turns away."""
BACKLOG: Final = 4_096

_log: Final = logging.getLogger("varde.relay")


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on a host and a port; 0 chooses one. Raises OSError."""
    return await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)


async def run_listener(listener: trio.abc.Listener[trio.SocketStream], nursery: trio.Nursery, serve: Serve) -> NoReturn:
    """Accept for as long as it is not cancelled; each connection is a task of `nursery`."""
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as failure:
                if failure.errno not in EXHAUSTED:
                    raise
                _log.warning("no more connections can be accepted: %s", errno.errorcode[failure.errno or 0])
                await trio.sleep(BREATHER)
            else:
                nursery.start_soon(serve, stream, _address_of(stream))


def address_of(listener: trio.SocketListener) -> str:
    """Return where a listener listens, as one writes it in a URL."""
    name = listener.socket.getsockname()
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def _address_of(stream: trio.SocketStream) -> str:
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return ""  # gone already: it will show when it is read
