"""The interface of what carries events between processes, its deadlines, and how several events share one text."""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from storage.bus.inbox import Inbox

SECONDS: Final = 1.0
FLEET: Final = "fleet"
"""The topic that every process hears."""
RESYNC: Final = b""
"""Published under `FLEET`: its publisher could not publish something, so whoever hears it reads the truth again."""

_RANDOM: Final = random.SystemRandom()


class BusDown(Exception):
    """The bus cannot be reached just now. Nothing that matters is lost: what it would have said is in Postgres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a bus waits, in seconds."""

    answer: float = 5 * SECONDS
    """For a connection, for a publication, for a sign of life."""
    probe: float = 1 * SECONDS
    """Of silence, after which a peer is asked whether it is still there: a stalled one closes nothing."""
    first_retry: float = 0.1 * SECONDS
    """At most, and a random part of it; doubled with every failure."""
    last_retry: float = 0.5 * SECONDS
    """Where doubling ends. What was missed is to be read within two seconds of the bus's return: to subscribe to 20,000
    conversations again takes a fifth of a second of a core, and longer on a busy one."""


def retry_pauses(timeouts: Timeouts) -> Iterator[float]:
    """Full jitter: each time a random part of a growing pause, because a herd must not come back as one."""
    pause = timeouts.first_retry
    while True:
        yield _RANDOM.uniform(0, pause)
        pause = min(2 * pause, timeouts.last_retry)


class Message(NamedTuple):
    """One event under its topic. `event` is a JSON object, or `RESYNC`."""

    topic: str
    event: bytes


class Wire(Protocol):
    """What carries messages. All of it belongs to the asyncio side.

    What it hears goes to the inbox that `open` was given, as texts that `pack` made. Messages of one publisher under
    one topic keep their order. A wire may hear more than it subscribed to: who listens filters.
    """

    async def open(self, inbox: Inbox) -> None:
        """Hear what is under `FLEET`, from now until `aclose`, and find a lost connection again.

        Whatever may have been missed is said by `Inbox.lose`. Raises BusDown, at the start only.
        """
        ...

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish all of them, in one round trip. Raises BusDown: it is unknown who has heard.

        When it is cancelled, nothing of it is in the way of the next call.
        """
        ...

    def subscribe(self, topics: Collection[str]) -> None:
        """Hear these topics soon. A wire that does not hear them already says `lose(topics)` once it does."""
        ...

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Hear them no more, soon."""
        ...

    async def aclose(self) -> None:
        """Close all connections, within a deadline."""
        ...


def pack(events: Sequence[bytes], limit: int) -> list[str]:
    """Write events into as few texts as they fit, in their order: one as itself, several as a JSON array.

    A text costs a bus and each of its listeners about the same, however much it says. `limit` is in bytes; an event
    alone may be longer.
    """
    texts: list[str] = []
    parts: list[bytes] = []
    size = 1
    for part in events:
        if parts and size + len(part) + 1 > limit:
            texts.append(_join(parts))
            parts, size = [], 1
        parts.append(part)
        size += len(part) + 1  # with the comma or bracket behind it
    return [*texts, _join(parts)] if parts else texts


def _join(parts: Sequence[bytes]) -> str:
    return (parts[0] if len(parts) == 1 else b"[%b]" % b",".join(parts)).decode()
