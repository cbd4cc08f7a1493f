"""Free ports: chosen once for port 0, so that a restarted program is found at the same address.

A port that the kernel chose, was closed and is used later may be somebody else's by then: on a busy machine the kernel
gives it to any outgoing connection. Hold it bound, or take `free_port`.
"""

import errno
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from settings.environment import PORT_MAX, Address, BadAddress

_HOST: Final = "127.0.0.1"
_LEAST: Final = 10_000  # below that, services of the machine have their own
_EPHEMERAL: Final = 32_768
"""Where Linux's range of ports for anybody begins (ip_local_port_range)."""


@contextmanager
def reserve(address: Address) -> Iterator[Address]:
    """Yield the address as it is or, for port 0, with a free port that stays ours while the block runs.

    A socket that is bound but does not listen keeps the kernel from giving the port to anybody else's outgoing
    connection, while a program that sets SO_REUSEADDR, as ours do, may listen on it. Elsewhere than on Linux such a
    program could not, so the port is only looked up there.

    Raises BadAddress when the host is no address of this machine, or somebody listens there.
    """
    if address.port:
        # Told now, and not by a program of ours half a minute later.
        _bind(address, socket.SO_REUSEADDR).close()
        yield address
        return
    with _bind(Address(address.host, 0), socket.SO_REUSEADDR) as held:
        chosen = Address(address.host, held.getsockname()[1])
        if sys.platform != "linux":
            held.close()
        yield chosen


@contextmanager
def reserve_shared(address: Address) -> Iterator[Address]:
    """Yield the address, with a free port for port 0, where several programs may listen at once with SO_REUSEPORT.

    The kernel lets any program of the same user join in that sets SO_REUSEPORT, and would spread clients over all of
    them: so it is made sure that nobody listens there yet. Our own socket never listens, and is never given a client.

    Raises BadAddress when the host is no address of this machine, or somebody listens there.
    """
    if address.port:
        _bind(address, socket.SO_REUSEADDR).close()  # in the way of whoever listens, but not of what is long closed
    with _bind(address, socket.SO_REUSEADDR, socket.SO_REUSEPORT) as held:
        yield Address(address.host, held.getsockname()[1])


def later_port(address: Address, steps: int) -> Address:
    """Return the address so many ports on; 0, any port, stays. Raises BadAddress when there are no more."""
    if not address.port or not steps:
        return address
    if address.port + steps > PORT_MAX:
        raise BadAddress(f"{address} leaves no port for each worker: choose a lower one")
    return Address(address.host, address.port + steps)


def free_port(host: str = _HOST) -> int:
    """Return a port of this machine that nobody listens on at the moment.

    It lies below the range from which the kernel gives ports to whoever asks for any: between this call and the moment
    when a program listens there, thousands of other connections may be made, and none of them takes it.
    """
    while True:
        port = _LEAST + secrets.randbelow(_EPHEMERAL - _LEAST)
        with socket.socket() as sock, suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is only in TIME-WAIT is free
            sock.bind((host, port))
            return port


def hold_ports(stack: ExitStack, count: int) -> int:
    """Hold so many ports in a row for as long as the stack lasts, and return the first.

    They are bound and not listened on: the kernel gives them to nobody else, and a program that sets SO_REUSEADDR may
    listen on them again and again.
    """
    while True:
        first = free_port()
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    sock = held.enter_context(socket.socket())
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind((_HOST, port))
            except (OSError, OverflowError):
                continue  # somebody has one of them
            stack.push(held.pop_all())
            return first


def _bind(address: Address, *options: int) -> socket.socket:
    try:
        family, _, _, _, _ = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in options:
                held.setsockopt(socket.SOL_SOCKET, option, 1)
            held.bind((address.host, address.port))
        except BaseException:
            held.close()
            raise
    except OSError as error:
        raise BadAddress(_why_not(address, error)) from None
    return held


def _why_not(address: Address, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"address in use: another program listens at {address}; stop it, or choose another address"
        case errno.EACCES:
            return f"this user may not listen at {address}: choose a port above 1023"
        case _:
            return f"{address.host} is no address of this machine: use 127.0.0.1, or 0.0.0.0 for all of them"
