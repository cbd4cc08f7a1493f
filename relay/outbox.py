"""What waits to be sent to one peer: bounded in bytes, in the order of the wire, encoded but not sealed yet.

Refuses to wait for a slow peer, and to leave out a message in silence.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import trio
from msgspec import Struct

from contract.codec import encode_frame, fits
from contract.frames import EPHEMERAL, Lagging

Encoded: TypeAlias = tuple[type[Struct], bytes]
"""A frame's kind and its bytes: encoded once, however many peers it goes to."""

_EPHEMERAL: Final = frozenset(EPHEMERAL)


class Outbox:
    """A queue with one reader, the connection. Everything but the waiting for room is a plain function.

    `size` counts the bytes that wait and those that were taken and are still on their way to the kernel. A frame that
    is dropped was never sealed, so the nonces on the wire have no hole.
    """

    __slots__ = (
        "_capacity",
        "_dropped",
        "_ephemeral",
        "_frames",
        "_overflow",
        "_ring",
        "_room",
        "_under_way",
        "ended",
        "size",
    )

    def __init__(self, capacity: int, overflow: Callable[[], None], ring: Callable[[], None]) -> None:
        """`ring` is called when there is something to take; `overflow` when a message finds no room: cut the peer."""
        self._capacity = capacity
        self._overflow = overflow
        self._ring = ring
        self._frames: deque[Encoded] = deque()
        self._ephemeral = 0
        self._dropped = 0
        self._under_way = 0
        self._room = trio.lowlevel.ParkingLot()
        self.size = 0
        self.ended = False

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return self._capacity - self.size

    def push(self, kind: type[Struct], encoded: bytes) -> None:
        """Queue a live frame. Full: ephemeral frames go first; if that is not enough, the peer is cut."""
        if not self.ended and (len(encoded) <= self.room or self._make_room(kind, len(encoded))):
            self._append(kind, encoded)

    def push_frame(self, frame: Struct) -> None:
        """Encode and queue a frame that only this peer gets."""
        self.push(type(frame), encode_frame(frame))

    def offer(self, kind: type[Struct], encoded: bytes) -> bool:
        """Queue a frame of the backlog, which can wait: False when there is no room."""
        if self.ended or len(encoded) > self.room:
            return False
        self._append(kind, encoded)
        return True

    def end(self) -> None:
        """Drop everything and take nothing any more."""
        self.ended = True
        self._frames.clear()
        self._ephemeral = 0

    async def wait_room(self) -> None:
        """Return when at most half of the capacity is used. A checkpoint only if that is not so already."""
        while self.size > self._capacity // 2:
            await self._room.park()  # without a deadline: a peer that does not read is cut by the heartbeat

    def take(self) -> list[Encoded]:
        """Take out what fits into one Noise message, with `lagging` first when something was dropped. May be empty.

        To be called when what was taken before is with the kernel.
        """
        self._settle()
        batch: list[Encoded] = []
        size = 0
        if self._dropped:
            size = self._say_lagging(batch)
        while self._frames and fits(size + len(self._frames[0][1]), len(batch) + 1):
            frame = self._frames.popleft()
            self._ephemeral -= frame[0] in _EPHEMERAL
            size += len(frame[1])
            self._under_way += len(frame[1])
            batch.append(frame)
        return batch

    def _append(self, kind: type[Struct], encoded: bytes) -> None:
        self._frames.append((kind, encoded))
        self.size += len(encoded)
        self._ephemeral += kind in _EPHEMERAL
        self._ring()

    def _make_room(self, kind: type[Struct], size: int) -> bool:
        if kind in _EPHEMERAL:
            self._dropped += 1
            return False
        if self._ephemeral:
            self._drop_ephemeral()
        if size > self.room:
            self._overflow()
            return False
        return True

    def _drop_ephemeral(self) -> None:
        kept = deque(frame for frame in self._frames if frame[0] not in _EPHEMERAL)
        self.size -= sum(len(frame[1]) for frame in self._frames) - sum(len(frame[1]) for frame in kept)
        self._dropped += len(self._frames) - len(kept)
        self._frames, self._ephemeral = kept, 0

    def _say_lagging(self, batch: list[Encoded]) -> int:
        encoded = encode_frame(Lagging(self._dropped))
        self._dropped = 0
        batch.append((Lagging, encoded))
        return len(encoded)

    def _settle(self) -> None:
        self.size -= self._under_way
        self._under_way = 0
        if self._room and self.size <= self._capacity // 2:
            self._room.unpark_all()
