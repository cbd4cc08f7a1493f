"""The interface of a bus that carries text, and the limits that hold for every implementation."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

PAYLOAD_LIMIT: Final = 7_900  # bytes of UTF-8; Postgres refuses 8,000

Receive = Callable[[str], object]
Resync = Callable[[], object]


class BusDown(Exception):
    """The bus cannot be reached just now. Nothing that matters is lost: what it would have said is in Postgres."""


class PayloadMisuse(ValueError):
    """Our own bug: a payload that no bus may carry, too long or with a NUL in it."""


class TextBus(Protocol):
    """A doorbell: every node that listens hears what is published, or is told that it may have missed something."""

    async def publish(self, payloads: Sequence[str]) -> None:
        """Ring for every payload, on this node and all others. A checkpoint, and over within the bus's own deadline.

        Each listener hears the payloads of one publisher in the order of publishing; those that are equal within one
        call may be heard once.

        Raises:
            PayloadMisuse: a payload is longer than `PAYLOAD_LIMIT`, or holds a NUL; none of them is published.
            BusDown: the bus could not be reached; it is unknown who has heard.
        """
        ...

    @property
    def connected(self) -> bool:
        """Whether payloads are heard now."""
        ...

    def listen(self, receive: Receive, resync: Resync) -> AbstractContextManager[None]:
        """Until the block ends, call `receive` with every payload that is published from now on.

        `resync` is called whenever payloads may have been missed, after which everything is heard again: it is time to
        read the truth once more. Both are plain functions, called in the Trio thread, one call at a time, and never
        after the block. What they raise ends the block in which the bus was opened, and is raised there.
        """
        ...


def refuse_misuse(payloads: Sequence[str]) -> None:
    """Raise PayloadMisuse unless every payload may travel. The text names sizes, never what a payload says."""
    for payload in payloads:
        if (size := len(payload.encode())) > PAYLOAD_LIMIT:
            raise PayloadMisuse(f"a payload of {size} bytes is too long for a bus, which carries {PAYLOAD_LIMIT}")
        if "\0" in payload:
            raise PayloadMisuse("a payload holds a NUL, which Postgres cannot carry")
