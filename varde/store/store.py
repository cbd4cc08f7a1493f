"""The local store: one home folder, opened for one process, handing out its shelves."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import trio

from varde.errors import NotEnrolled, StoreDamaged, WrongKey
from varde.store.contacts import Contacts
from varde.store.conversations import Conversations
from varde.store.database import Connect, Database, connect_file, open_file
from varde.store.lock import hold_lock
from varde.store.log import Log
from varde.store.outbox import Outbox
from varde.store.own_numbers import OwnNumbers
from varde.store.pins import Pins
from varde.store.ratchets import Ratchets
from varde.store.receipts import Receipts
from varde.store.sealing import KEY_BYTES, Place, Seal
from varde.store.sender_keys import SenderKeyShelf
from varde.store.settings import Settings
from varde.store.unlock import Cost, SlotKind, Unlock

STORE_NAME = "store.sqlite"
SALT_BYTES = 16

_WRAPPED = Place("slot", "wrapped", 1)


class Store:
    """Every shelf over one database and one seal. Not for several threads; nothing here is a checkpoint."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self.settings = Settings(database, seal)
        self.pins = Pins(database, seal)
        self.conversations = Conversations(database, seal)
        self.receipts = Receipts(database, seal)
        self.ratchets = Ratchets(database, seal)
        self.sender_keys = SenderKeyShelf(database, seal)
        self.outbox = Outbox(database, seal)
        self.own_numbers = OwnNumbers(database, seal)
        self.log = Log(database, seal)
        self.contacts = Contacts(database, seal)

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """Commit what the block does, all of it or nothing; a block inside a block joins it.

        Not `durable`: what the loss of power may take back, because the relay would tell it again.
        """
        return self._database.transaction(durable=durable)


@asynccontextmanager
async def open_store(
    home: Path, unlock: Unlock, *, make: bool = False, connect: Connect = connect_file
) -> AsyncIterator[Store]:
    """Open the store of a home folder for the block; with `make`, make folder and store when they are absent.

    Raises NotEnrolled without a store, StoreInUse, WrongKey, StoreDamaged. `connect` lets a test interfere.
    """
    home = _expand(home)
    path = _find_file(home, make=make)
    with hold_lock(home):
        database = open_file(path, connect)
        try:
            yield Store(database, await _open_seal(database, unlock, make=make))
        finally:
            database.aclose_nowait()


def _expand(home: Path) -> Path:
    return home.expanduser()  # reads the environment, or at most the list of users


def _find_file(home: Path, *, make: bool) -> Path:
    path = home / STORE_NAME
    if make:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
    elif not path.exists():
        raise NotEnrolled("there is no store in this home folder")
    return path


async def _open_seal(database: Database, unlock: Unlock, *, make: bool) -> Seal:
    row = database.row("SELECT kind, salt, passes, memory, wrapped FROM slot")
    if row is None and not make:
        raise NotEnrolled("the making of this store was interrupted")
    if row is None:
        return await _make_seal(database, unlock)
    kind, salt, passes, memory, wrapped = row
    if kind != unlock.kind:
        raise WrongKey(f"this store is opened with a {SlotKind(kind).value}")
    # A thread, because one guess at a passphrase is made to take a second.
    wrapping = await trio.to_thread.run_sync(unlock.wrapping_key, salt, Cost(passes, memory))
    try:
        return Seal(Seal(wrapping).open(_WRAPPED, wrapped))
    except StoreDamaged:
        raise WrongKey("this passphrase or key file does not open the store") from None


async def _make_seal(database: Database, unlock: Unlock) -> Seal:
    unlock.prepare()
    salt, key = os.urandom(SALT_BYTES), os.urandom(KEY_BYTES)
    wrapping = await trio.to_thread.run_sync(unlock.wrapping_key, salt, unlock.cost)
    with database.transaction():
        database.run(
            "INSERT INTO slot VALUES (1, ?, ?, ?, ?, ?)",
            unlock.kind.value,
            salt,
            unlock.cost.passes,
            unlock.cost.memory,
            Seal(wrapping).close(_WRAPPED, key),
        )
    return Seal(key)
