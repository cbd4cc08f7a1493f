"""How one connection talks to one kind of durable server: the parts that generator and servers agree on."""

from typing import Protocol


class Dialect(Protocol):
    """One connection, sans-I/O. Its ledger is told of each message that was acked, refused or received."""

    @property
    def live(self) -> bool:
        """Whether it is signed in and listens, so that messages may be sent."""

    @property
    def owes(self) -> bool:
        """Whether something received is still to be confirmed, which may wait for a second to be said in one."""

    def open(self) -> bytes:
        """Return what to send when TCP is connected."""

    def feed(self, received: bytes) -> bytes:
        """Take what was received; return what to send at once.

        Raises ServerFault for anything but what a healthy server says.
        """

    def send(self, payload: bytes) -> bytes:
        """Return the bytes that send one message to the partner."""

    def confirm(self) -> bytes:
        """Return the bytes that confirm what is owed."""

    def leave(self) -> bytes:
        """Return the bytes that say good-bye."""


class Tally(Protocol):
    """Who is told of what happened to messages. Connections go by their number."""

    def ack(self, sender: int, count: int) -> None:
        """The server took over `count` messages of this sender."""

    def refuse(self, sender: int) -> None:
        """The server said no to one message of this sender."""

    def receive(self, receiver: int, payload: bytes) -> None:
        """A message came to this receiver."""
