"""What the programs of all peer servers share: how they begin, who is in which room, and the work for a message."""

import json
import ssl
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeAlias, TypeVar

from bench.peer_protocol import READY, Cipher, NoCipher, ack_of, delivery_of, unpack_hello

HOST: Final = "127.0.0.1"
BACKLOG: Final = 1_024
C = TypeVar("C")  # what a library sends on


def read_arguments(description: str | None, *more: str) -> Namespace:
    """Read the command line, with the names of arguments that a server has of its own.

    With `certificate` and `key`, paths of PEM files, the server speaks TLS.
    """
    parser = ArgumentParser(description=description)
    for name in ("--certificate", "--key", *more):
        parser.add_argument(name, required=name in more)
    return parser.parse_args()


def tls_of(arguments: Namespace) -> ssl.SSLContext | None:
    """Return the server's side of TLS 1.3, or None for plain sockets."""
    if arguments.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(arguments.certificate, arguments.key)
    return context


def announce(port: int) -> None:
    """Say on stdout, in one line of JSON, that the server listens now."""
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()


class Member(Generic[C]):
    """A member of a room: what it is sent on, its keys, and the others."""

    __slots__ = ("_number", "_room", "connection", "decrypt", "encrypt")

    def __init__(self, room: "Room[C]", number: int, connection: C, sending: Any, receiving: Any) -> None:
        self._room, self._number, self.connection = room, number, connection
        self.decrypt: Callable[[bytes | memoryview], bytes] = sending.decrypt
        self.encrypt: Callable[[bytes], bytes] = receiving.encrypt

    def others(self) -> "list[Member[C]]":
        """Return everybody else in the room, as of now."""
        return [member for member in self._room if member is not self]

    def leave(self) -> None:
        """Leave the room."""
        self._room.remove(self)

    def read(self, message: bytes | memoryview) -> tuple[bytes, bytes]:
        """Decrypt a message, and return what the others and what the sender are sent, still to be encrypted."""
        plain = self.decrypt(message)
        return delivery_of(self._number, plain), ack_of(plain)


Room: TypeAlias = list[Member[C]]
_ROOMS: Final[dict[int, list[Member[Any]]]] = {}


def join(hello: bytes | memoryview, connection: C, *, encrypted: bool = True) -> Member[C]:
    """Let the sender of this hello into its room."""
    number, member_number, *keys = unpack_hello(hello)
    room = _ROOMS.setdefault(number, [])
    sending, receiving = map(Cipher, keys) if encrypted else (NoCipher(), NoCipher())
    member = Member(room, member_number, connection, sending, receiving)
    room.append(member)
    return member


async def serve_member(
    receive: Callable[[], Awaitable[Any]], send: Callable[[bytes], Awaitable[None]], closed: type[Exception]
) -> None:
    """Serve a connection until `receive` or `send` raises `closed`, under asyncio or Trio."""
    with suppress(closed):
        member = join(await receive(), send)
        try:
            await send(READY)
            while True:
                delivery, ack = member.read(await receive())
                for other in member.others():
                    with suppress(closed):
                        await other.connection(other.encrypt(delivery))
                await send(member.encrypt(ack))
        finally:
            member.leave()
