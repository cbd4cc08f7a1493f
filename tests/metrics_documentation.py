"""`python -m tests.metrics_documentation [--check]`: writes the tables of docs/metrics.md from the definitions.

Everything above the marker in that file is written by hand; everything below it is generated.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from api.metrics.exposition import PARTS, REQUESTS
from observability.definition import Definition
from observability.process import PROCESS
from relay.metrics.connection_metrics import CONNECTIONS, TRAFFIC
from relay.metrics.labels import HANDSHAKE_OUTCOME, HOSTILITY, HOSTILITY_ADVICE, JOIN_OUTCOME, JOURNAL_REFUSAL
from relay.metrics.node_metrics import NODE
from relay.metrics.storage_metrics import STORAGE
from worker.metrics import JOBS, LOG

W = TypeVar("W", bound=str)

PAGE: Final = Path(__file__).parents[1] / "docs" / "metrics.md"
COMMAND: Final = "python -m tests.metrics_documentation"
MARKER: Final = f"<!-- Generated from here on by `{COMMAND}`. -->\n"
HOSTILE_NOTE: Final = (
    "The node bounds each of these in time and memory, and counts it. Nobody has to do anything. Broken clients and "
    "bad networks cause most of them.\n"
)


def render_page(page: str) -> str:
    """Return the page with its tables as they should be. Raises ValueError when the marker is missing."""
    by_hand, marker, _ = page.partition(MARKER)
    if not marker:
        raise ValueError(f"{PAGE.name} has no line {MARKER.strip()}")
    sections = (
        ("## Relay: connections", _metrics(CONNECTIONS)),
        ("### Outcomes of a handshake", _words(HANDSHAKE_OUTCOME)),
        ("### Outcomes of a join", _words(JOIN_OUTCOME)),
        ("### What hostile peers do", HOSTILE_NOTE + "\n" + _words(HOSTILITY, HOSTILITY_ADVICE)),
        ("## Relay: on the wire", _metrics(TRAFFIC)),
        ("## Relay: database and bus", _metrics(STORAGE)),
        ("### Why the journal refuses a message", _words(JOURNAL_REFUSAL)),
        ("## Relay: the node", _metrics(NODE)),
        ("## API: requests", _metrics(REQUESTS)),
        ("## API: what it needs", _metrics(PARTS)),
        ("## Worker: jobs", _metrics(JOBS)),
        ("## Worker: the transparency log", _metrics(LOG)),
        ("## Every process", _metrics(PROCESS)),
    )
    return by_hand + marker + "".join(f"\n{heading}\n\n{body}" for heading, body in sections)


def _metrics(definitions: Iterable[Definition[...]]) -> str:
    rows = [
        (f"`{each.name}`", str(each.kind), f"`{each.label}`" if each.label else "", each.meaning, each.advice)
        for each in definitions
    ]
    return _table(("metric", "type", "label", "meaning", "what to do about it"), rows)


def _words(*columns: Mapping[W, str]) -> str:
    rows = [(f"`{word}`", *(column[word] for column in columns)) for word in columns[0]]
    return _table(("word", "meaning", "what to do about it")[: 1 + len(columns)], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page or, with --check, compare it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the tables of docs/metrics.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is out of date")
    check = parser.parse_args(arguments).check
    page = PAGE.read_text(encoding="utf-8")
    rendered = render_page(page)
    if not check:
        PAGE.write_text(rendered, encoding="utf-8")
    elif rendered != page:
        sys.stderr.write(f"{PAGE.name} is out of date: run {COMMAND}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
