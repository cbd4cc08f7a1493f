"""Who sits in which room, and the work that every peer server does for a message: open it, seal it for each
other one.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from bench.peer_wire import ack_of, delivery_of, unpack_hello
from bench.sealing import Opening, Sealing, Unsealed

Connection = TypeVar("Connection")


class Seat(Generic[Connection]):
    """A member's place: its connection, its keys, and the others in the room."""

    __slots__ = ("_room", "connection", "member", "open", "seal")

    def __init__(
        self,
        room: "Room[Connection]",
        member: int,
        connection: Connection,
        open_: Callable[[bytes | memoryview], bytes],
        seal: Callable[[bytes], bytes],
    ) -> None:
        self._room = room
        self.connection = connection
        self.member = member
        self.open = open_
        self.seal = seal

    def others(self) -> list["Seat[Connection]"]:
        """Return everybody else in the room, as of now."""
        return [seat for seat in self._room if seat is not self]

    def leave(self) -> None:
        """Give the place free."""
        self._room.remove(self)

    def read(self, message: bytes | memoryview) -> tuple[bytes, bytes]:
        """Open a message, and return what the others and what the sender are told of it, still to be sealed."""
        plain = self.open(message)
        return delivery_of(self.member, plain), ack_of(plain)


Room = list[Seat[Connection]]


class Seats(Generic[Connection]):
    """All rooms of one server."""

    def __init__(self, *, sealed: bool = True) -> None:
        self._rooms: dict[int, Room[Connection]] = {}
        self._sealed = sealed

    def take(self, hello: bytes | memoryview, connection: Connection) -> Seat[Connection]:
        """Give the sender of this hello its place."""
        said = unpack_hello(hello)
        room = self._rooms.setdefault(said.room, [])
        opening = Opening(said.sending) if self._sealed else Unsealed()
        sealing = Sealing(said.receiving) if self._sealed else Unsealed()
        seat = Seat(room, said.member, connection, opening.open, sealing.seal)
        room.append(seat)
        return seat
