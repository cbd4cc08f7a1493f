"""The queue of frames for one peer: bounded in bytes, in the order of the wire, encoded and not encrypted yet."""

from collections.abc import Callable
from typing import Final, TypeAlias

import trio
from msgspec import Struct

from varde_contract.codec import encode_frame, fits
from varde_contract.frames import EPHEMERAL, Lagging

Encoded: TypeAlias = tuple[type[Struct], bytes]
"""A frame's kind and its bytes: encoded once, however many peers it goes to."""

_EPHEMERAL: Final = frozenset(EPHEMERAL)
_NOTHING: Final[list[Encoded]] = []


class Outbox:
    """A queue with one reader, the connection. Everything but `wait_room` is a plain function.

    `size` counts the bytes that wait and those that were taken and are still on their way to the kernel. Frames are
    encrypted when they are taken, so a dropped frame leaves no gap in the nonces. A live frame with nothing queued
    before it goes straight to the connection, if the connection can send it now.
    """

    __slots__ = (
        "_capacity",
        "_direct",
        "_dropped",
        "_drops",
        "_ephemeral",
        "_frames",
        "_overflow",
        "_request_flush",
        "_room",
        "_under_way",
        "_waiting",
        "ended",
    )

    def __init__(
        self,
        capacity: int,
        *,
        overflow: Callable[[], None],
        direct: Callable[[type[Struct], bytes], bool],
        request_flush: Callable[[], None],
        drops: dict[type[Struct], int],
    ) -> None:
        """`direct` sends a frame at once or returns False; `request_flush` is called when there is something to take.

        `overflow` is called when a message finds no room: the peer has to be cut. `drops` counts what was dropped, for
        all outboxes together.
        """
        self._capacity = capacity
        self._overflow = overflow
        self._direct = direct
        self._request_flush = request_flush
        self._drops = drops
        self._frames: list[Encoded] = []
        self._ephemeral = 0
        self._dropped = 0
        self._under_way = 0
        self._waiting = 0
        self._room: trio.lowlevel.ParkingLot | None = None
        self.ended = False

    @property
    def size(self) -> int:
        """Bytes that wait or are on their way to the kernel."""
        return self._waiting + self._under_way

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return self._capacity - self._waiting - self._under_way

    def push(self, kind: type[Struct], encoded: bytes) -> None:
        """Send or queue a live frame. Full: ephemeral frames go first; if that is not enough, the peer is cut."""
        if self._frames or self._dropped:
            # For the frames before it a flush was requested, or waits until the kernel takes more.
            self.put(kind, encoded)
        elif not self._direct(kind, encoded) and self.put(kind, encoded):
            self._request_flush()

    def put(self, kind: type[Struct], encoded: bytes) -> bool:
        """Queue a live frame that `flush` will send along with others; False when it was dropped."""
        size = len(encoded)
        room = self._capacity - self._waiting - self._under_way
        if self.ended or (size > room and not self._make_room(kind, size)):
            return False
        self._frames.append((kind, encoded))
        self._waiting += size
        self._ephemeral += kind in _EPHEMERAL
        return True

    def flush(self) -> None:
        """Have what waits sent."""
        if self._frames:
            self._request_flush()

    def push_frame(self, frame: Struct) -> None:
        """Encode and queue a frame that only this peer gets."""
        self.push(type(frame), encode_frame(frame))

    def put_frame(self, frame: Struct) -> None:
        """Encode a frame that only this peer gets, and queue it for `flush`."""
        self.put(type(frame), encode_frame(frame))

    def offer(self, kind: type[Struct], encoded: bytes) -> bool:
        """Queue a frame of the backlog for `flush`: False when there is no room, for it can wait."""
        return len(encoded) <= self.room and self.put(kind, encoded)

    def end(self) -> None:
        """Drop everything and take nothing any more."""
        self.ended = True
        self._frames = []
        self._waiting = self._ephemeral = self._dropped = 0

    @property
    def has_room(self) -> bool:
        """Whether at most half of the capacity is used."""
        # Half, and not a byte: a mailbox that woke for each frame sent would ask the store for pages of a few messages.
        return self.size <= self._capacity // 2

    async def wait_room(self) -> None:
        """Return when there is room. A checkpoint only if that is not so already."""
        while not self.has_room:
            if self._room is None:
                self._room = trio.lowlevel.ParkingLot()
            await self._room.park()  # without a deadline: the heartbeat cuts a peer that does not read

    def take(self) -> list[Encoded]:
        """Take out what fits into one Noise message, with `lagging` first when something was dropped. May be empty.

        To be called when what was taken before is with the kernel.
        """
        self._under_way = 0
        if self._room is not None:
            self._wake_waiting(self._room)
        if self._dropped:
            self._say_lagging()
        if not self._frames:
            return _NOTHING
        if fits(self._waiting, len(self._frames)):
            batch, self._frames = self._frames, []
            self._under_way, self._waiting, self._ephemeral = self._waiting, 0, 0
            return batch
        return self._take_some()

    def _take_some(self) -> list[Encoded]:
        count = size = 0
        while fits(size + len(self._frames[count][1]), count + 1):
            size += len(self._frames[count][1])
            count += 1
        batch, self._frames = self._frames[:count], self._frames[count:]
        self._under_way = size
        self._waiting -= size
        self._ephemeral -= sum(kind in _EPHEMERAL for kind, _ in batch)
        return batch

    def _make_room(self, kind: type[Struct], size: int) -> bool:
        # Never wait for a slow peer, and never drop silently: ephemeral frames go first, and `lagging` says so.
        # If that is not enough the peer is cut, and resumes from the log.
        if kind in _EPHEMERAL:
            self._dropped += 1
            self._drops[kind] += 1
            return False
        if self._ephemeral:
            self._drop_ephemeral()
        if size > self.room:
            self._overflow()
            return False
        return True

    def _drop_ephemeral(self) -> None:
        dropped = [frame for frame in self._frames if frame[0] in _EPHEMERAL]
        self._frames = [frame for frame in self._frames if frame[0] not in _EPHEMERAL]
        self._waiting -= sum(len(encoded) for _, encoded in dropped)
        self._dropped += len(dropped)
        self._ephemeral = 0
        for kind, _ in dropped:
            self._drops[kind] += 1

    def _say_lagging(self) -> None:
        encoded = encode_frame(Lagging(self._dropped))
        self._dropped = 0
        self._frames.insert(0, (Lagging, encoded))
        self._waiting += len(encoded)

    def _wake_waiting(self, room: trio.lowlevel.ParkingLot) -> None:
        if self.has_room:
            room.unpark_all()
            self._room = None
