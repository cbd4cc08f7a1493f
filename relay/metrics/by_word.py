"""From what things are counted by to the words of labels."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from relay.metrics.words import CLOSINGS
from varde_contract.frames import tag_of

W = TypeVar("W", bound=str)


def by_word(counts: Mapping[W, int]) -> Mapping[str, float]:
    """By an enum's own words."""
    return {str(word): count for word, count in counts.items()}


def by_tag(counts: Mapping[type[Struct], int]) -> Mapping[str, float]:
    """By the words that frames and events have on the wire."""
    return {tag_of(kind): count for kind, count in counts.items()}


def by_code(counts: Mapping[int | None, int]) -> Mapping[str, float]:
    """By close code."""
    return {CLOSINGS[code]: count for code, count in counts.items()}
