"""The audit log: what operators had done, in a table that is only appended to.

An entry is written before the action, so that none is without. What was refused after that, or failed, has one too.
Whoever owns the database can rewrite the table. Each entry continues a chain of hashes, so they would have to rewrite
all that follows; whoever has noted a later hash elsewhere sees it.
"""

import enum
import hashlib
import logging
import os
import pwd
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import trio
from msgspec import Struct

from settings.audit import AuditSettings
from settings.storage import StorageSettings
from storage.database import Connection, open_database
from storage.island import Island, open_island

_ODD: Final = re.compile(r"[^A-Za-z0-9_.-]")
_log = logging.getLogger(__name__)


class Action(enum.StrEnum):
    """What can be done. Nothing else gets into the log."""

    BACKUP = "backup"
    CONFIGURE = "configure"
    MIGRATE = "migrate"
    NEW_LOG = "new-log"
    NODE_DRAIN = "node-drain"
    NODE_SHED = "node-shed"
    RESTORE = "restore"
    REVOKE = "revoke"
    ROTATE_KEY = "rotate-key"
    SUSPEND = "suspend"


class Entry(Struct, frozen=True):
    """One action: by whom (an account of the machine), on what, and what more there is to say. `chain` is in hex."""

    number: int
    done_ms: int
    actor: str
    action: str
    target: str
    detail: str
    chain: str


async def record(settings: StorageSettings, action: Action, target: str = "", detail: str = "") -> None:
    """Append an entry. Raises what the database raises: then the action must not be done."""
    async with _connected(settings) as (island, connection):
        await island.run(connection.execute, _APPEND, _actor(), action.value, target, detail)


async def record_configuration(settings: StorageSettings, program: str, told: AuditSettings) -> None:
    """Append an entry when a program starts with other settings than the last time.

    It holds their digest. A program serves also when that fails.
    """
    target = f"{program}.{told.relay_name}" if program == "relay" else program
    try:
        async with _connected(settings) as (island, connection):
            await island.run(connection.execute, _APPEND_CHANGE, _actor(), Action.CONFIGURE.value, target, told.digest)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        _log.warning("the settings are not in the audit log: %s", type(error).__name__)


async def read_entries(settings: StorageSettings, last: int) -> Sequence[Entry]:
    """Return the newest entries, the oldest of them first."""
    async with _connected(settings) as (island, connection):
        rows = await island.run(connection.fetch, _READ, last)
    return [Entry(*row) for row in rows]


def first_broken(entries: Sequence[Entry]) -> int | None:
    """Return the number of the first entry that does not continue the one before it; None when all do."""
    chain = None if entries and entries[0].number > 1 else b""
    number = entries[0].number if entries else 1
    for each in entries:
        fields = (each.number, each.done_ms, each.actor, each.action, each.target, each.detail)
        text = "\n".join(map(str, fields)).encode()
        # Of the first one that is read, what it continues is not known.
        if each.number != number or (chain is not None and hashlib.sha256(chain + text).hexdigest() != each.chain):
            return number
        chain, number = bytes.fromhex(each.chain), number + 1
    return None


def _actor() -> str:
    # Who became root to do it, and not root.
    try:
        name = AuditSettings.from_environ(os.environ).sudo_user or pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user needs no name
        name = f"uid-{os.geteuid()}"
    return _ODD.sub("_", name)[:32]


@asynccontextmanager
async def _connected(settings: StorageSettings) -> AsyncIterator[tuple[Island, Connection]]:
    async with open_database(settings.database) as url, open_island() as island:
        connection = await island.run(asyncpg.connect, url)
        try:
            yield island, connection
        finally:
            with trio.CancelScope(shield=True):
                await island.run(connection.close)


_APPEND: Final = "SELECT audit_append($1, $2, $3, $4)"
_APPEND_CHANGE: Final = """
    SELECT audit_append($1, $2, $3, $4) WHERE $4 IS DISTINCT FROM (
        SELECT detail FROM audit_entry WHERE action = $2 AND target = $3 ORDER BY number DESC LIMIT 1
    )
"""
_READ: Final = """
    SELECT * FROM (
        SELECT number, done_ms, actor, action, target, detail, encode(chain, 'hex') FROM audit_entry
        ORDER BY number DESC LIMIT $1
    ) AS newest ORDER BY number
"""
