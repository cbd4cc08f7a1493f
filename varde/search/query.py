"""Words as the search compares them, and what a person types read as a query.

Both sides of a comparison go through `fold`: case and compatibility are folded (Unicode's NFKC_Casefold), å stays apart
from a, and every character that is no part of a word becomes a space. So nothing that a person types can be a command
to SQLite, and a newer Unicode than SQLite's own tables know is searched as well.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from varde.errors import VardeError

QUERY_CHARACTERS: Final = 1_000
QUERY_TERMS: Final = 32

_SPACE: Final = " "
# Scripts that put no spaces between words: each character is a word, so that any part of a sentence is found.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
# What changes how a character is drawn, or where a line may break, and not which word it is.
_IGNORED: Final = re.compile("[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_QUOTES: Final = re.compile("[“”„«»]")
_PIECES: Final = re.compile(r'"([^"]*)(?:"|$)|(\S+)')


class _Spaced(dict[int, str]):
    """For `str.translate`: what becomes of a character. Filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = found = _spaced(character)
        return found


def _spaced(character: str) -> str:
    if _IGNORED.match(character):
        return ""
    category = unicodedata.category(character)
    # An emoji is a symbol (So), and a word of its own.
    if _UNSPACED.match(character) or category == "So":
        return f" {character} "
    return character if category[0] in "LNM" or category == "Co" else _SPACE


_spacing: Final = _Spaced()


def fold(text: str) -> str:
    """Return the words of a text, folded, with one space between two."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SPACE.join(folded.translate(_spacing).split())


class Term(NamedTuple):
    """Words that follow each other. Of the last one the beginning is enough, where `prefix`."""

    words: tuple[str, ...]
    prefix: bool


class Query(NamedTuple):
    """What must all be in a message. Without terms it finds nothing."""

    terms: tuple[Term, ...]

    @property
    def expression(self) -> str:
        """As FTS5 reads it (https://www.sqlite.org/fts5.html section 3). A folded word holds no quotation mark."""
        return " AND ".join(f'"{_SPACE.join(each.words)}"{" *" if each.prefix else ""}' for each in self.terms)

    def hits(self, text: str) -> Sequence[tuple[int, int]]:
        """Return where in a text the terms are: start and length in code points, in order, none within another."""
        words = list(_words_in(text))
        found = {span for term in self.terms for span in _places(term, words)}
        return _merge(sorted(found))


def parse_query(typed: str) -> Query:
    """Read what a person typed: words, of which the beginning is enough, and "whole phrases" in quotation marks.

    Raises VardeError for more than a person types.
    """
    if len(typed) > QUERY_CHARACTERS:
        raise _too_long()
    terms = []
    for phrase, word in _PIECES.findall(_QUOTES.sub('"', typed)):
        if words := tuple(fold(phrase or word).split()):
            terms.append(Term(words, prefix=not phrase))
    if len(terms) > QUERY_TERMS:
        raise _too_long()
    return Query(tuple(terms))


def _too_long() -> VardeError:
    return VardeError(
        "this is too long to search for",
        code="search-too-long",
        advice=f"search for at most {QUERY_TERMS} words and {QUERY_CHARACTERS:,} characters",
    )


class _Word(NamedTuple):
    folded: str
    start: int
    end: int


def _words_in(text: str) -> Iterator[_Word]:
    start = 0
    for end in range(len(text) + 1):
        kind = _spacing[ord(text[end])] if end < len(text) else _SPACE
        if len(kind) != 1 or kind == _SPACE:
            if kind == "":
                continue  # within a word
            if folded := fold(text[start:end]):
                yield _Word(folded, start, end)
            if kind != _SPACE:
                yield _Word(fold(text[end]), end, end + 1)
            start = end + 1


def _places(term: Term, words: Sequence[_Word]) -> Iterator[tuple[int, int]]:
    *first, last = term.words
    for at in range(len(words) - len(first)):
        here = words[at : at + len(term.words)]
        if [each.folded for each in here[:-1]] == first and (
            here[-1].folded.startswith(last) if term.prefix else here[-1].folded == last
        ):
            yield here[0].start, here[-1].end


def _merge(spans: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return [(start, end - start) for start, end in merged]
