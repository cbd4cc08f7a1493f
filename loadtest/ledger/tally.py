"""Counting by words that may come from outside."""

from typing import Final

_MOST_WORDS: Final = 64
_MOST_LETTERS: Final = 64
OTHER: Final = "other"


def count_word(tally: dict[str, int], word: str, count: int = 1) -> None:
    """Count a word; beyond 64 different ones, and when it is longer than 64 letters, as `other`."""
    if len(word) > _MOST_LETTERS or (word not in tally and len(tally) >= _MOST_WORDS):
        word = OTHER
    tally[word] = tally.get(word, 0) + count


def add_tally(whole: dict[str, int], part: dict[str, int]) -> None:
    """Add the counts of one tally to another."""
    for word, count in part.items():
        whole[word] = whole.get(word, 0) + count
