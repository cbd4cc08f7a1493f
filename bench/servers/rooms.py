"""What the programs of all peer servers share: how they begin, who is in which room, and the work for a message."""

import argparse
import json
import ssl
import sys
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from bench.peer_protocol import Cipher, NoCipher, ack_of, delivery_of, unpack_hello

HOST: Final = "127.0.0.1"
BACKLOG: Final = 1_024
C = TypeVar("C")  # the library's connection


class Arguments(argparse.Namespace):
    """The command line. With `certificate` and `key`, paths of PEM files, the server speaks TLS."""

    certificate: str | None
    key: str | None

    def tls(self) -> ssl.SSLContext | None:
        """Return the server's side of TLS 1.3, or None for plain sockets."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context if self.certificate is not None else None


def read_arguments(description: str, *more: str) -> Arguments:
    """Read the command line, with the names of arguments that a server has of its own."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("--certificate", "--key", *more):
        parser.add_argument(name, required=name in more)
    return parser.parse_args(namespace=Arguments())


def announce(port: int) -> None:
    """Say on stdout, in one line of JSON, that the server listens now."""
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()


class Member(Generic[C]):
    """A member of a room: its connection, its keys, and the others."""

    __slots__ = ("_room", "connection", "decrypt", "encrypt", "number")

    def __init__(
        self,
        room: "Room[C]",
        number: int,
        connection: C,
        decrypt: Callable[[bytes | memoryview], bytes],
        encrypt: Callable[[bytes], bytes],
    ) -> None:
        self._room, self.number, self.connection = room, number, connection
        self.decrypt, self.encrypt = decrypt, encrypt

    def others(self) -> "list[Member[C]]":
        """Return everybody else in the room, as of now."""
        return [member for member in self._room if member is not self]

    def leave(self) -> None:
        """Leave the room."""
        self._room.remove(self)

    def read(self, message: bytes | memoryview) -> tuple[bytes, bytes]:
        """Decrypt a message, and return what the others and what the sender are sent, still to be encrypted."""
        plain = self.decrypt(message)
        return delivery_of(self.number, plain), ack_of(plain)


Room: TypeAlias = list[Member[C]]


class Rooms(Generic[C]):
    """All rooms of one server."""

    def __init__(self, *, encrypted: bool = True) -> None:
        self._rooms: dict[int, Room[C]] = {}
        self._encrypted = encrypted

    def join(self, hello: bytes | memoryview, connection: C) -> Member[C]:
        """Let the sender of this hello into its room."""
        number, member_number, *keys = unpack_hello(hello)
        room = self._rooms.setdefault(number, [])
        sending, receiving = map(Cipher, keys) if self._encrypted else (NoCipher(), NoCipher())
        member = Member(room, member_number, connection, sending.decrypt, receiving.encrypt)
        room.append(member)
        return member
