"""What a worker knows of one conversation, and where one device stands in it."""

from collections.abc import Callable, Sequence
from typing import Final

from loadtest.crowd.crowd import Room
from varde_contract import frames as f
from varde_contract.ids import ClientId, ConversationId, DeviceId, ProfileId
from varde_contract.limits import CIPHERTEXT_BYTES, MEMBERS_PER_CONVERSATION, PLAINTEXT_BYTES

_FRAME_BYTES: Final = 256  # more than a `msg:send` needs beside its ciphertexts
_DEVICE_BYTES: Final = 24  # of the map from devices to ciphertexts, for each: an id and two heads


class Conversation:
    """A conversation. Nobody writes before all readers have come once, except in a room larger than any group."""

    __slots__ = ("_absent", "_devices", "_waiting", "due", "group", "id", "most", "number", "version")

    def __init__(
        self, number: int, room: Room, devices: Sequence[tuple[int, DeviceId]], *, due: int, here: Sequence[int]
    ) -> None:
        """`devices` are those of its seats that are used; `here` those of this worker; `due` is for each message."""
        self.number = number
        self.id: ConversationId = room.conversation
        self.group = room.group
        self.version = room.roster_version
        self.due = due
        self._devices = () if room.group else tuple(devices)
        self._absent = set(here) if len(room.members) <= MEMBERS_PER_CONVERSATION else set()
        self._waiting: set[Callable[[], None]] = set()
        copies = 1 if room.group else max(1, len(self._devices) - 1)
        self.most = min(CIPHERTEXT_BYTES, (PLAINTEXT_BYTES - _FRAME_BYTES) // copies - _DEVICE_BYTES)
        """Bytes of one ciphertext, so that all of them fit a message of Noise."""

    @property
    def complete(self) -> bool:
        """Whether everybody has come."""
        return not self._absent

    def enter(self, seat: int, ready: Callable[[], None]) -> None:
        """Somebody listens. `ready` is called as soon as everybody has, if that is not the case yet."""
        self._absent.discard(seat)
        self._waiting.add(ready)
        if not self._absent:
            waiting, self._waiting = self._waiting, set()
            for each in waiting:
                each()

    def frame(self, client: ClientId, profile: ProfileId, sender: int, payload: bytes) -> f.Send:
        """Return the `msg:send` of a seat."""
        if self.group:
            return f.Send(client, self.id, profile, self.version, group=payload)
        devices = {device: payload for seat, device in self._devices if seat != sender}
        return f.Send(client, self.id, profile, self.version, devices=devices)


class Position:
    """One device in one conversation. `told` begins anew with each connection, `seen` does not."""

    __slots__ = ("conversation", "seen", "told", "unconfirmed")

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.told = self.seen = 0
        self.unconfirmed = 0  # of how many messages the relay is to be told; one more where it has to be told again

    def join(self, joined: f.Joined) -> None:
        """The server tells what follows from there on."""
        self.told = joined.from_seq - 1
        self.seen = max(self.seen, self.told)
        self.conversation.version = max(self.conversation.version, joined.roster_version)

    def take(self, seq: int) -> bool:
        """Move to a number. False: this device had it already, and is told again because its connection is new."""
        again = self.told < seq <= self.seen
        self.told, self.seen = max(self.told, seq), max(self.seen, seq)
        return not again

    def skip(self, first: int, last: int) -> int:
        """Move past numbers that cannot be had. How many of them are new."""
        new = max(0, last - max(first - 1, self.seen))
        self.told, self.seen = max(self.told, last), max(self.seen, last)
        return new
