"""Rows into Postgres by COPY, in one transaction: all of the people, or none."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import asyncpg

from loadtest.crowd.crowd import CrowdError
from storage.migrate import require_current

CONNECTING_DEADLINE: Final = 30.0
DEADLINE: Final = 600.0
"""Seconds for one table."""

RowsOf: TypeAlias = Callable[[str], Iterable[Sequence[Any]]]
"""The rows of a table."""


async def refuse_unfit(url: str, into_existing: bool) -> None:  # noqa: FBT001 - the island carries places, no names
    """Raises CrowdError and SchemaError where `copy_tables` should not be asked."""
    connection = await _connect(url)
    try:
        await require_current(connection)
        if not into_existing and await connection.fetchval("SELECT EXISTS (SELECT FROM account)"):
            raise CrowdError("people live in this database already: say --into-existing to add a crowd to them")
    finally:
        await connection.close()


async def copy_tables(url: str, columns: Mapping[str, Sequence[str]], rows_of: RowsOf) -> int:
    """Fill the tables in order, and return the number of rows. Raises CrowdError."""
    connection, count = await _connect(url), 0
    try:
        async with connection.transaction():
            for table, names in columns.items():
                count += await _copy(connection, table, names, rows_of(table))
        await connection.execute("ANALYZE", timeout=DEADLINE)
    finally:
        await connection.close()
    return count


async def _connect(url: str) -> Any:
    try:
        return await asyncpg.connect(url, timeout=CONNECTING_DEADLINE)
    except OSError as error:  # a TimeoutError, too; neither text holds the URL
        raise CrowdError(f"the database cannot be reached: {error.strerror or 'no answer'}") from None


async def _copy(connection: Any, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    done = await connection.copy_records_to_table(table, records=rows, columns=names, timeout=DEADLINE)
    return int(done.removeprefix("COPY "))
