"""A key is changed in three steps, so that at each moment every program accepts what any other one uses.

1. The next key is made, and accepted by those who judge (`<file>.next`).
2. It is used. The one of before is still accepted (`<file>.old`).
3. The old one is gone.

Between two steps the programs are restarted, one after the other, with the files that they need. A step that was
interrupted is repeated as a whole or taken up where it stood.
"""

import enum
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from storage.keys import STAGES, KeyFileError, check_folder, make_key_set, read_text, write_text

NEXT, OLD = STAGES
HOUR: Final = 3_600


class KeySet(NamedTuple):
    """Files that change together, and for how many seconds the old ones are accepted after the second step.

    `for_good` is None, or says what is lost when the old key goes: then the third step has to be insisted on.
    """

    files: Sequence[str]
    overlap: int
    for_good: str | None = None


KEY_SETS: Final = {
    # A client holds what the API told it, and asks again when a handshake fails: a day spares most of them that.
    "relay": KeySet(("relay.key", "relay.pub", "relay.kem", "relay.kem.pub"), 24 * HOUR),
    # The life of a ticket, and an hour for clocks and for APIs that were restarted late.
    "ticket": KeySet(("ticket.key", "ticket.pub"), 25 * HOUR),
    "pepper": KeySet(("pepper",), 0, "whoever has not signed in since then can never sign in to their account again"),
}


class Stage(enum.StrEnum):
    """Where the change of a key stands."""

    SETTLED = "settled"
    ANNOUNCED = "announced"
    SWITCHED = "switched"


def stage_of(folder: Path, name: str) -> Stage:
    """Return where the change of this key stands; an interrupted step counts as not made. Raises KeyFileError."""
    check_folder(folder)
    files = KEY_SETS[name].files
    if not _any(folder, files, NEXT):
        return Stage.SWITCHED if _any(folder, files, OLD) else Stage.SETTLED
    # A complete set of old ones beside some of the next: the second step was interrupted.
    return Stage.ANNOUNCED if _all(folder, files, NEXT) or _all(folder, files, OLD) else Stage.SETTLED


def rotate(folder: Path, name: str, now: float, *, insist: bool = False) -> Stage:
    """Make the next step, and return where the change stands then. Raises KeyFileError."""
    keys = KEY_SETS[name]
    match stage_of(folder, name):
        case Stage.SETTLED:
            _remove(folder, keys.files, NEXT)
            for file, text in make_key_set(keys.files).items():
                write_text(folder / (file + NEXT), text)
            return Stage.ANNOUNCED
        case Stage.ANNOUNCED:
            _switch(folder, keys.files)
            return Stage.SWITCHED
        case Stage.SWITCHED:
            _refuse_early(folder, keys, now, insist=insist)
            _remove(folder, keys.files, OLD)
            return Stage.SETTLED


def _switch(folder: Path, files: Sequence[str]) -> None:
    # The old ones are whole before the first one is replaced. So a complete set of old ones says that this has begun,
    # and what is still called `.next` is what remains to be done.
    if not _all(folder, files, OLD):
        _remove(folder, files, OLD)
        for file in files:
            write_text(folder / (file + OLD), read_text(folder, file))
    for file in files:
        if (folder / (file + NEXT)).exists():
            (folder / (file + NEXT)).replace(folder / file)
    _sync(folder)


def _refuse_early(folder: Path, keys: KeySet, now: float, *, insist: bool) -> None:
    if insist:
        return
    if keys.for_good is not None:
        raise KeyFileError(f"the old key can stay where it is. Without it, {keys.for_good}. With --insist it goes")
    since = max(path.stat().st_mtime for file in keys.files if (path := folder / (file + OLD)).exists())
    if now < since + keys.overlap:
        raise KeyFileError(
            f"the old key is still in use by clients for {(since + keys.overlap - now) / HOUR:.1f} h. With --insist it "
            "goes now, and they have to ask for what they hold once more"
        )


def _all(folder: Path, files: Sequence[str], stage: str) -> bool:
    return all((folder / (file + stage)).exists() for file in files)


def _any(folder: Path, files: Sequence[str], stage: str) -> bool:
    return any((folder / (file + stage)).exists() for file in files)


def _remove(folder: Path, files: Sequence[str], stage: str) -> None:
    for file in files:
        (folder / (file + stage)).unlink(missing_ok=True)
    _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
