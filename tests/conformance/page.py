"""`python -m tests.conformance.page [--check]`: the page that shows the table of cases, from the table."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.conformance.case import Case
from tests.conformance.requests import Asking
from tests.conformance.table import SECTIONS
from tests.conformance.table.upgrade import REQUESTS

PAGE: Final = Path(__file__).parents[2] / "docs" / "conformance.md"

_BEGINNING: Final = """\
# Conformance to RFC 6455

What the relay does with what a peer may send, and with what it may not: {count} cases, each played against a live
relay. The relay has two paths, one for whole binary frames and one for everything else, so a case is sent in every way
that could lead it over one, the other, or from one to the other: whole, octet by octet, frame by frame, split in two
wherever it may matter, and each with ordinary messages right before, between and after, in the same write. The cases
on an open connection are played again behind TLS, in one write.

"Goes on" means that every message was answered, every ping had its pong, in order, and the connection is as it was. A
number is the code of the close frame; what came before it in good order may or may not have been answered. 4103 is our
own code: a message that reached the session, and is none of Noise ([protocol.md](protocol.md), section 9).

Beside the table, Hypothesis composes streams of frames, breaks them and cuts them up; the `websockets` library, given
the same bytes, is the judge of what the relay answers. And three clients that are none of ours talk to it:
trio-websocket, websockets, and one in Node with a Noise of its own.

This page is made from the table by `python -m tests.conformance.page`.
"""


def write_page() -> str:
    """Return the page."""
    count = len(REQUESTS) + sum(map(len, SECTIONS.values()))
    pieces = [_BEGINNING.format(count=count), _table("Opening handshake", REQUESTS)]
    pieces += [_table(section, cases) for section, cases in SECTIONS.items()]
    return "\n".join(pieces)


def _table(section: str, rows: Iterable[Case | Asking]) -> str:
    head = [f"## {section}", "", "| what is sent | where | what comes of it |", "|---|---|---|"]
    body = [f"| {row.name} | {_place(row.section)} | {row.expected()} |" for row in rows]
    return "\n".join([*head, *body, ""])


def _place(section: str) -> str:
    return section if section.startswith("RFC") else f"§ {section}"


def main(arguments: Sequence[str]) -> int:
    """Write the page, or say whether it is as it should be."""
    if "--check" in arguments:
        return int(PAGE.read_text(encoding="utf-8") != write_page())
    PAGE.write_text(write_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
