"""Writes the vector of a search snapshot: `python -m tests.varde.vectors.write_search`. Nonces are random, so each run
writes another one.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any, Final

from varde.search.snapshot import FOLDING, seal_snapshot
from varde.store import Store
from varde.store.database import Database
from varde.store.search import Mark
from varde.store.table import KEY_BYTES, StoreCipher

FILE: Final = Path(__file__).with_name("search.json")
KEY: Final = bytes(range(KEY_BYTES))
SNAPSHOT: Final = bytes(range(0xA0, 0xB0))
CHUNK: Final = 64
"""Smaller than in a file, to be read by people."""
IMAGE: Final = b"the image of the index: " + bytes(range(100))


def open_store_of(key: bytes) -> Store:
    """An empty store with this key."""
    return Store(Database(sqlite3.connect(":memory:", isolation_level=None)), StoreCipher(key))


def vector() -> dict[str, Any]:
    """Everything in the file."""
    parts = seal_snapshot(open_store_of(KEY).search, SNAPSHOT, Mark(300, 7), IMAGE, chunk=CHUNK)
    return {
        "key": KEY.hex(),
        "chunk": CHUNK,
        "snapshot": SNAPSHOT.hex(),
        "position": 300,
        "change": 7,
        "folding": FOLDING,
        "image": IMAGE.hex(),
        "file": b"".join(parts).hex(),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vector(), indent=1) + "\n", encoding="utf-8")
