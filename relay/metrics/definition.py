"""The definition of a node's metric: read from the services, and from what is only looked at for a scrape."""

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from observability import definition
from relay.metrics.labels import CLOSE_CODES
from relay.metrics.snapshot import Snapshot
from relay.services import Services
from varde_contract.frames import tag_of

Definition: TypeAlias = definition.Definition[[Services, Snapshot]]


def by_tag(counts: Mapping[type[Struct], int]) -> Mapping[str, float]:
    """Return counts by the tags of frames or events."""
    return {tag_of(kind): count for kind, count in counts.items()}


def by_close_code(counts: Mapping[int | None, int]) -> Mapping[str, float]:
    """Return counts by the labels of close codes."""
    return {CLOSE_CODES[code]: count for code, count in counts.items()}
