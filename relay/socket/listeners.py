"""Listening sockets, and accepting connections from them."""

import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

import trio

from observability.serving import BREATHER, EXHAUSTED

Serve = Callable[[socket.socket, str], Awaitable[None]]

THEIRS: Final = frozenset(
    {
        *(errno.ECONNABORTED, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPERM),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENONET),
    }
)
"""Errors of the new connection that `accept` reports (accept(2), error handling)."""
BACKLOG: Final = 4_096
"""What Linux allows by default (net.core.somaxconn) and cuts longer queues to. When a node dies, its clients connect to
the others within seconds and wait here; a SYN that finds the queue full is only repeated after a second."""
AT_ONCE: Final = 32
"""Connections accepted between two checkpoints: each begins a handshake that costs a third of a millisecond."""

_log: Final = logging.getLogger("varde.relay")


async def open_listeners(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Listen on every address of a host, and a port; 0 chooses one. Raises OSError.

    With `reuse_port`, several nodes may listen on the same address, and the kernel spreads connections (SO_REUSEPORT).
    """
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            # One port for all addresses, even if the kernel chose it for the first one.
            name = (address[0], listeners[0].getsockname()[1], *address[2:]) if listeners and port == 0 else address
            listeners.append(_listen(socket.socket(family, kind, protocol), name, reuse_port=reuse_port))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


async def run_listener(listener: socket.socket, nursery: trio.Nursery, serve: Serve) -> NoReturn:
    """Accept until cancelled; each connection is a task of `nursery`. Closes the listener."""
    try:
        while True:
            try:
                for _ in range(AT_ONCE):
                    sock, name = listener.accept()
                    nursery.start_soon(serve, _prepare(sock), str(name[0]))
            except BlockingIOError:
                await trio.lowlevel.wait_readable(listener)  # without a deadline: nobody may ever come
            except OSError as failure:
                await _get_over(failure)
            else:
                await trio.lowlevel.checkpoint()
    finally:
        # When a listener closes, the kernel resets the connections in its queue. They are accepted first, so that they
        # get an answer. With SO_REUSEPORT, new connections go to the other nodes from then on.
        with suppress(OSError):
            for _ in range(BACKLOG):
                sock, name = listener.accept()
                nursery.start_soon(serve, _prepare(sock), str(name[0]))
        trio.lowlevel.notify_closing(listener)
        listener.close()


def address_of(listener: socket.socket) -> str:
    """Return the address of a listener as in a URL."""
    name = listener.getsockname()
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


def _listen(listener: socket.socket, address: Any, *, reuse_port: bool) -> socket.socket:
    try:
        # A node that starts again must have its address while connections of the one before are in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listener.family == socket.AF_INET6:
            # Otherwise `::` takes the port of IPv4 too, and the listener for `0.0.0.0` cannot have it.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _prepare(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    # Whole frames are written: nothing is gained by waiting for more.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _get_over(failure: OSError) -> None:
    """Wait until `accept` may work again, or raise the error if it will not."""
    if failure.errno in THEIRS:
        # Such errors may come one after the other, and then the loop has no other checkpoint.
        await trio.lowlevel.checkpoint()
    elif failure.errno in EXHAUSTED:
        _log.warning("no more connections can be accepted: %s", errno.errorcode[failure.errno])
        # The connection stays in the queue and keeps the listener readable: without a pause the loop would only spin.
        await trio.sleep(BREATHER)
    else:
        raise failure
