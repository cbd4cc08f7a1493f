"""When what waits in outboxes is sent: at once, or together at the end of what is under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Flushable(Protocol):
    """Somebody with an outbox."""

    def flush(self) -> None:
        """Send what waits, as far as the kernel takes it. Raises nothing."""


class FlushScheduler:
    """One flush for each connection, however much was put into its outbox meanwhile.

    Gathered frames leave as one Noise message in one write: on a busy node, that is most of the work saved. On a quiet
    one there is nothing to gather, and remembering who has to be flushed would only cost time.
    """

    __slots__ = ("_gathered", "gathering")

    def __init__(self) -> None:
        self.gathering = False
        """Whether something is under way at whose end all is sent."""
        self._gathered: dict[Flushable, None] = {}

    def request(self, connection: Flushable) -> None:
        """Flush now, or at the end of what is under way."""
        if self.gathering:
            self._gathered[connection] = None
        else:
            connection.flush()

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Let everything wait until the end of the block. Nothing in the block may `await`."""
        assert not self.gathering, "two blocks at a time: one of them has a checkpoint"
        self.gathering = True
        try:
            yield
        finally:
            self.gathering = False
            gathered, self._gathered = self._gathered, {}
            for connection in gathered:
                connection.flush()
