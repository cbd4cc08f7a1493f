"""Who is in which room of a peer server, and the work that each does for a message: decrypt it, encrypt it for each
other member.
"""

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from bench.peer_protocol import Cipher, NoCipher, ack_of, delivery_of, unpack_hello

C = TypeVar("C")
"""The library's connection."""


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
        self._room = room
        self.number = number
        self.connection = connection
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
        said = unpack_hello(hello)
        room = self._rooms.setdefault(said.room, [])
        if self._encrypted:
            member = Member(room, said.member, connection, Cipher(said.sending).decrypt, Cipher(said.receiving).encrypt)
        else:
            member = Member(room, said.member, connection, NoCipher().decrypt, NoCipher().encrypt)
        room.append(member)
        return member
