"""Processes that die at a chosen statement."""

import sqlite3
from collections.abc import Callable
from typing import cast


class Crashed(BaseException):
    """The process is no more. Not an Exception: nobody may catch it and go on."""


class CrashingConnection:
    """A SQLite connection whose process dies at the n-th point: right before each COMMIT, and right after it.

    To die earlier in a transaction is the same as right before its COMMIT: nothing of it is in the file, and nothing
    of it has left the process, because a transaction has no checkpoint. What changes outside of one is a point, too.
    """

    def __init__(self, path: str, point: int) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._left = point
        self._dead = False

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        """Run a statement, or die."""
        if self._dead or sql == "COMMIT" or self._changes_alone(sql):
            self._pass_point()
        cursor = self._connection.execute(sql, *args)  # type: ignore[arg-type] # as it was called
        if sql == "COMMIT":
            self._pass_point()
        return cursor

    @property
    def in_transaction(self) -> bool:
        """A dead process rolls nothing back: the next one to open the file does."""
        return not self._dead and self._connection.in_transaction

    def close(self) -> None:
        """Whoever opened it closes it."""
        self._connection.close()

    def _changes_alone(self, sql: str) -> bool:
        return not self._connection.in_transaction and not sql.startswith(("SELECT", "PRAGMA", "BEGIN"))

    def _pass_point(self) -> None:
        if self._dead or self._left == 0:
            self._dead = True
            self._connection.close()  # rolls back what is open, as the death of the process would
            raise Crashed
        self._left -= 1


def crash_at(point: int) -> Callable[[str], sqlite3.Connection]:
    """Return a `connect` for `open_store` whose connection dies at its n-th point."""
    return lambda path: cast("sqlite3.Connection", CrashingConnection(path, point))


def is_crash(group: BaseException) -> bool:
    """Whether somebody was killed, however deep in groups."""
    if isinstance(group, BaseExceptionGroup):
        return any(is_crash(each) for each in group.exceptions)
    return isinstance(group, Crashed)
