"""Looking for words in bytes, however they may have been written down: raw, hex, base64, UTF-16, escaped.

Nothing here knows what is looked for: `chapters/searched.py` does.
"""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_CHUNK: Final = 16 * 1024 * 1024


class Found(NamedTuple):
    """Where a word was found, and how it was written there."""

    place: str
    word: str
    form: str


def forms(word: bytes) -> dict[str, bytes]:
    """Return the bytes a word may lie in as.

    Base64 depends on where in a group of three bytes the word begins: of the three ways, the part that does not depend
    on its neighbours is looked for, in both alphabets.
    """
    found = {"raw": word, "hex": word.hex().encode(), "HEX": word.hex().upper().encode()}
    for offset in range(3):
        # The first group that holds strange bits and the last are cut off.
        encoded = base64.b64encode(b"\0" * offset + word)
        inner = encoded[4 if offset else 0 : 4 * ((offset + len(word)) // 3)]
        found[f"base64 at {offset}"] = inner
        found[f"base64url at {offset}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    try:
        text = word.decode()
    except UnicodeDecodeError:
        return found
    return found | {"UTF-16": text.encode("utf-16-le"), "escaped": text.encode("unicode_escape")}


class Search:
    """Looks for words in what it is given, and remembers how much it has read."""

    def __init__(self, words: Iterable[bytes]) -> None:
        needles: dict[bytes, tuple[bytes, str, bytes]] = {}
        for word in words:
            for form, written in forms(word).items():
                needles.setdefault(written, (word, form, written))  # two forms may be the same bytes
        self._needles = list(needles.values())
        self._overlap = max(len(written) for _, _, written in self._needles) - 1
        self.bytes_read = 0

    def in_bytes(self, place: str, content: bytes) -> list[Found]:
        """Return every word that is in there."""
        self.bytes_read += len(content)
        return [
            Found(place, word.decode(errors="replace"), form)
            for word, form, written in self._needles
            if written in content
        ]

    def in_file(self, path: Path) -> list[Found]:
        """Return every word that is in the file. Pieces overlap, so that none is cut in two. Raises OSError."""
        return [found for piece in _pieces(path, self._overlap) for found in self.in_bytes(path.name, piece)]


def _pieces(path: Path, overlap: int) -> Iterator[bytes]:
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield tail + chunk
            tail = chunk[-overlap:]
