"""The SQLite file: opened durable, brought to the current schema, written to in transactions only."""

import errno
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from varde.errors import StoreDamaged, StoreFailed, VardeError
from varde.store.schema import APPLICATION_ID, VERSIONS

Value: TypeAlias = bytes | str | int | None
Row: TypeAlias = tuple[Any, ...]
Connect: TypeAlias = Callable[[str], sqlite3.Connection]

# WAL with FULL: a commit survives the loss of power. secure_delete: what is deleted is overwritten.
# temp_store: no sorting spills into a file.
_ALWAYS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA busy_timeout = 5000",
)

_FULL = ("the disk under the local store is full", "store-full", "free some space, and do the same again")
_READ_ONLY = (
    "the local store cannot be written",
    "store-read-only",
    "see whose the home folder is, and whether its disk is mounted to be read only",
)
_DISK = (
    "the disk under the local store reports errors",
    "store-disk",
    "look at the disk first; do not go on with a copy of the folder while this one may still be used",
)
_BUSY = (
    "another program has the local store's file open",
    "store-busy",
    "close it: a backup, or a viewer of databases",
)
# By SQLite's primary result code (https://www.sqlite.org/rescode.html). Whoever is told that the store is damaged puts
# back a backup, and with it ratchet steps that were used: so only these two say so, and everything unknown does not.
_FAULTS = {
    sqlite3.SQLITE_FULL: _FULL,
    **dict.fromkeys((sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM), _READ_ONLY),
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), _BUSY),
    sqlite3.SQLITE_IOERR: _DISK,
}
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY = 0xFF
_OS_FAULTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _READ_ONLY),
    errno.EIO: _DISK,
}


class _TellingFaults:
    """Raises StoreFailed, or StoreDamaged, for a failure below the store. What is a bug of ours passes as it is."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, sqlite3.DatabaseError | OSError) and (fault := _fault_of(error)) is not None:
            raise fault from None


telling_faults = _TellingFaults()


def _fault_of(error: sqlite3.DatabaseError | OSError) -> VardeError | None:
    if isinstance(error, OSError):
        fault = _OS_FAULTS.get(error.errno or 0)
    else:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
        if code in _DAMAGED:
            return StoreDamaged("the store file is not a database, or is damaged")
        fault = _FAULTS.get(code)
    if fault is None:
        return None
    what, word, advice = fault
    return StoreFailed(what, code=word, advice=advice)


def connect_file(path: str) -> sqlite3.Connection:
    """Open a SQLite file in autocommit: `Database.transaction` says BEGIN and COMMIT itself."""
    return sqlite3.connect(path, isolation_level=None)


class Database:
    """One open store file. Not for several threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._depth = 0
        self._durable = True
        for pragma in _ALWAYS:
            self.rows(pragma)
        self._bring_up()

    def run(self, sql: str, *values: Value) -> int:
        """Change something, inside a transaction; return how many rows it touched."""
        assert self._depth, "changes happen inside a transaction"
        return self._execute(sql, values).rowcount

    def rows(self, sql: str, *values: Value) -> list[Row]:
        """Return all rows of a query."""
        with telling_faults:
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Value) -> Row | None:
        """Return the first row of a query."""
        with telling_faults:
            found: Row | None = self._connection.execute(sql, values).fetchone()
            return found

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Commit what the block did when it ends, all of it or nothing. A block inside a block joins it.

        Every commit survives the death of the process, and commits are lost in no other order than from the end. A
        durable one survives the loss of power as well, and costs a wait for the disk.
        """
        if self._depth:
            assert self._durable or not durable, "a block that must be durable joined one that is not"
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        # Before BEGIN: SQLite does not let it change within a transaction.
        self._be_durable(durable)
        # The write lock at once: taken after a read it may be refused, and then nothing is left but to begin anew.
        self._execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._depth = 0

    def aclose_nowait(self) -> None:
        """Close the file; the last one out folds the write-ahead log in."""
        self._connection.close()

    def _be_durable(self, durable: bool) -> None:  # noqa: FBT001 - the name of the method says it
        if durable is not self._durable:
            self._execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _execute(self, sql: str, values: tuple[Value, ...] = ()) -> sqlite3.Cursor:
        with telling_faults:
            return self._connection.execute(sql, values)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _bring_up(self) -> None:
        (application,) = self.row("PRAGMA application_id") or (0,)
        (version,) = self.row("PRAGMA user_version") or (0,)
        if version > len(VERSIONS) or application not in (0, APPLICATION_ID) or (version and not application):
            raise StoreDamaged("the store was written by a newer version, or is not a store of Varde")
        for number, script in enumerate(VERSIONS[version:], start=version + 1):
            with self.transaction():
                for statement in _statements(script):
                    self.run(statement)
                self.run(f"PRAGMA application_id = {APPLICATION_ID}")
                self.run(f"PRAGMA user_version = {number}")


def open_file(path: Path, connect: Connect = connect_file) -> Database:
    """Open or make the store file, readable by its owner alone.

    Raises StoreDamaged when it is no store, StoreFailed when it cannot be opened or written now.
    """
    with telling_faults:
        path.touch(mode=0o600)
        connection = connect(str(path))
    try:
        return Database(connection)
    except BaseException:
        connection.close()
        raise


def _statements(script: str) -> Iterable[str]:
    # sqlite3's own executescript commits first, which would tear a migration in two.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
