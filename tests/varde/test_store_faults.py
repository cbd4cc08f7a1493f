"""What the local store says when the disk under it fails. Only a wrong file is called damaged.

Whoever reads "damaged" puts a backup back, and with it ratchet steps that were used.
"""

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.varde.test_unlock import passphrase
from varde.errors import StoreDamaged, StoreFailed
from varde.store import open_store
from varde.store.store import STORE_NAME


class Failing(sqlite3.Connection):
    """Fails with a code of SQLite's once it is told to, from the next statement on."""

    code: int | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Fail or do it."""
        if self.code is not None and not sql.startswith("ROLLBACK"):
            error = sqlite3.OperationalError("it was told to fail")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, parameters)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (sqlite3.SQLITE_FULL, "store-full"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "store-read-only"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "store-read-only"),
        (sqlite3.SQLITE_CANTOPEN, "store-read-only"),
        (sqlite3.SQLITE_IOERR_FSYNC, "store-disk"),
        (sqlite3.SQLITE_IOERR_READ, "store-disk"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "store-busy"),
        (sqlite3.SQLITE_LOCKED, "store-busy"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "store-damaged"),
        (sqlite3.SQLITE_NOTADB, "store-damaged"),
    ],
)
async def test_a_failure_has_its_own_word(tmp_path: Path, code: int, word: str) -> None:
    """While it is read, and while it is written; with advice."""
    connections = []

    def connect(path: str) -> sqlite3.Connection:
        connections.append(sqlite3.connect(path, isolation_level=None, factory=Failing))
        return connections[-1]

    async with open_store(tmp_path, passphrase(), make=True, connect=connect) as store:
        connections[0].code = code
        with pytest.raises((StoreFailed, StoreDamaged)) as reading:
            store.settings.find("name", str)
        with pytest.raises((StoreFailed, StoreDamaged)) as writing, store.transaction():
            pytest.fail("a transaction began")
        assert reading.value.code == writing.value.code == word
        assert reading.value.advice
        connections[0].code = None


async def test_a_full_disk_undoes_the_whole_transaction(tmp_path: Path) -> None:
    """SQLite's own, by a limit on the file: nothing of the transaction remains, and once there is space it goes on."""
    async with open_store(tmp_path, passphrase(), make=True) as store:
        (pages,) = store._database.row("PRAGMA page_count") or (0,)
        store._database.rows(f"PRAGMA max_page_count = {pages}")

        def write() -> None:
            with store.transaction():
                store.settings.put("small", "value")
                store.settings.put("large", "value" * 100_000)

        with pytest.raises(StoreFailed) as caught:
            write()
        assert caught.value.code == "store-full"
        assert store.settings.find("small", str) is None
        store._database.rows("PRAGMA max_page_count = 1000000")
        with store.transaction():
            store.settings.put("large", "value" * 100_000)
    async with open_store(tmp_path, passphrase()) as store:
        assert store.settings.find("large", str) == "value" * 100_000


async def test_a_folder_that_cannot_be_written_is_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only disk fails at the lock already."""
    async with open_store(tmp_path, passphrase(), make=True):
        pass
    opened = os.open

    def refuse(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))
        return opened(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreFailed) as caught:
        async with open_store(tmp_path, passphrase()):
            pytest.fail("it opened")
    assert caught.value.code == "store-read-only"


async def test_a_store_that_is_read_only_is_named_so(tmp_path: Path) -> None:
    """SQLite's own: opened for reading alone."""
    async with open_store(tmp_path, passphrase(), make=True):
        pass

    def connect(path: str) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    async with open_store(tmp_path, passphrase(), connect=connect) as store:
        with pytest.raises(StoreFailed) as caught, store.transaction():
            store.settings.put("name", "value")
    assert caught.value.code == "store-read-only"


async def test_a_file_whose_pages_are_wrong_is_damaged(tmp_path: Path) -> None:
    """Found by SQLite itself."""
    async with open_store(tmp_path, passphrase(), make=True):
        pass
    content = bytearray((tmp_path / STORE_NAME).read_bytes())
    content[100:4096] = bytes(3_996)
    (tmp_path / STORE_NAME).write_bytes(content)
    with pytest.raises(StoreDamaged):
        async with open_store(tmp_path, passphrase()):
            pytest.fail("it opened")
