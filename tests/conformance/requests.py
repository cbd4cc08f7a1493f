"""HTTP requests as bytes, also those that nobody may send, and what is expected of each (RFC 6455 section 4.2.1)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.conformance.variants import Chunks

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 section 1.3, and below what a server has to answer to it."""
ACCEPT: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

Cut: TypeAlias = Callable[[bytes], Chunks]

FIELDS: Final[tuple[tuple[str, str], ...]] = (
    ("Host", "relay.test"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", "varde.v2"),
)


@dataclass(frozen=True)
class UpgradeCase:
    """One request, as far as the end of its head, and the statuses that may answer it. 0: no answer, only the end."""

    name: str
    section: str
    request: bytes
    statuses: frozenset[int]

    def expected(self) -> str:
        """The expectation in words, for the page of the table."""
        words = {101: "upgraded", 0: "the end"}
        return " or ".join(words.get(status, str(status)) for status in sorted(self.statuses))


def head(
    *further: tuple[str, str],
    without: tuple[str, ...] = (),
    line: str = "GET /v1/relay HTTP/1.1",
    end: str = "\r\n",
    **changed: str,
) -> bytes:
    """A request with some fields changed (`_` for `-` in their names), left out, or added at the end."""
    values = {name.replace("_", "-").lower(): value for name, value in changed.items()}
    fields = [(name, values.get(name.lower(), value)) for name, value in FIELDS if name not in without]
    lines = [line, *(f"{name}: {value}" for name, value in (*fields, *further)), "", ""]
    return end.join(lines).encode("latin-1")


def row(name: str, section: str, status: int | set[int], request: bytes) -> UpgradeCase:
    """One row."""
    return UpgradeCase(name, section, request, frozenset({status} if isinstance(status, int) else status))


def cuts(request: bytes) -> Iterator[tuple[str, Cut]]:
    """The ways in which a request can arrive: also cut within and around the end of each of its lines."""
    yield "whole", lambda sent: [sent]
    if len(request) > 2_000:
        yield "in pieces of 1,000", lambda sent: [sent[at : at + 1_000] for at in range(0, len(sent), 1_000)]
        return
    yield "octet by octet", lambda sent: [sent[at : at + 1] for at in range(len(sent))]
    ends = [at for at, octet in enumerate(request) if octet == ord("\n")]
    for place in sorted({place for end in ends for place in (end, end + 1) if place < len(request)}):
        yield f"split at {place}", lambda sent, place=place: [sent[:place], sent[place:]]  # type: ignore[misc]
