"""What was sent, by stream: one sender's messages to one room, numbered from 1."""

from msgspec import Struct

from loadtest.ledger.pages import StreamPage


class Pending(Struct, frozen=True):
    """A message that the server has not answered for."""

    intended_ns: int
    sent_ns: int


class _Stream(Struct):
    sent: int
    pending: dict[int, Pending]
    refused: list[int]


class Outgoing:
    """The streams of this worker's senders."""

    def __init__(self) -> None:
        self._streams: dict[tuple[int, int], _Stream] = {}
        self.pending = 0

    def draw(self, sender: int, room: int, pending: Pending) -> int:
        """Return the number of the stream's next message, which is sent now."""
        stream = self._streams.get((sender, room))
        if stream is None:
            stream = self._streams[sender, room] = _Stream(0, {}, [])
        stream.sent = seq = stream.sent + 1
        stream.pending[seq] = pending
        self.pending += 1
        return seq

    def ack(self, sender: int, room: int, seq: int) -> Pending | None:
        """Return the message that was answered for; None when there was none, or it had been already."""
        stream = self._streams.get((sender, room))
        found = stream.pending.pop(seq, None) if stream is not None else None
        self.pending -= found is not None
        return found

    def refuse(self, sender: int, room: int, seq: int) -> Pending | None:
        """Return the message that was refused, which nobody is to receive; None as above."""
        found = self.ack(sender, room, seq)
        if found is not None:
            self._streams[sender, room].refused.append(seq)
        return found

    def pages(self) -> tuple[StreamPage, ...]:
        """Return all streams."""
        return tuple(
            StreamPage(sender, room, stream.sent, tuple(sorted(stream.refused)), tuple(stream.pending))
            for (sender, room), stream in self._streams.items()
        )
