"""The letters that a fresh stack writes to a folder instead of mailing them."""

import os
import re
from pathlib import Path
from typing import Final

_LETTER_BYTES: Final = 64 * 1024
_MOST_KEPT: Final = 10_000
"""Codes read and not asked for: those of other workers' callers. The oldest go first."""
_TO: Final = re.compile(rb"^To: (\S+)\s*$", re.MULTILINE)
_CODE: Final = re.compile(rb"^ +(\d{6,10})\s*$", re.MULTILINE)


class LetterBox:
    """Codes by the address that they were sent to, each to be taken once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()
        self._codes: dict[str, str] = {}

    def take(self, address: str) -> str | None:
        """Return the newest code for an address; None without a letter. The API writes it before it answers."""
        for name in self._new():
            self._keep(name)
        return self._codes.pop(address, None)

    def _new(self) -> list[str]:
        try:
            names = {name for name in os.listdir(self._folder) if name.endswith(".eml")}  # noqa: PTH208 - names only
        except FileNotFoundError:
            return []
        # Names begin with the time, the newest last.
        new, self._seen = sorted(names - self._seen), names
        return new

    def _keep(self, name: str) -> None:
        try:
            with (self._folder / name).open("rb") as letter:
                text = letter.read(_LETTER_BYTES)
        except FileNotFoundError:
            return
        address, code = _TO.search(text), _CODE.search(text)
        if address is None or code is None:
            return
        self._codes[address[1].decode("ascii", "replace")] = code[1].decode()
        if len(self._codes) > _MOST_KEPT:
            del self._codes[next(iter(self._codes))]
