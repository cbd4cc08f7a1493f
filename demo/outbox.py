"""The development mail folder as a letter box: the one-time codes of the story's people.

Only e-mails to the cast are read; nothing else of the server's folder is.
"""

import email
import re
from email import policy
from pathlib import Path
from typing import Final

import trio

_CODE: Final = re.compile(r"\b(\d{6,10})\b")
_POLL: Final = 0.02  # seconds; a folder announces nothing


async def wait_code(outbox: Path, address: str, seen: set[Path]) -> str:
    """Return the code in the next letter to this address, and note the letter as seen. The caller sets a deadline."""
    while True:
        for letter in _letters(outbox) - seen:
            code = _read(letter, address)
            if code is not None:
                seen.add(letter)
                return code
        await trio.sleep(_POLL)


def _letters(outbox: Path) -> set[Path]:
    return set(outbox.glob("*.eml")) if outbox.is_dir() else set()


def _read(letter: Path, address: str) -> str | None:
    message = email.message_from_bytes(letter.read_bytes(), policy=policy.default)
    if address not in str(message["To"]):
        return None
    body = message.get_body(preferencelist=("plain",))
    found = _CODE.search(body.get_content()) if body is not None else None
    return found.group(1) if found else None
