"""The local store: one home folder, locked and opened by one process, with its tables."""

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import trio

from varde.errors import NotEnrolled, StoreDamaged, StoreInUse, WrongKey
from varde.store.chains import Chains
from varde.store.conversations import Conversations, OwnNumbers, Receipts
from varde.store.database import Connect, Database, connect_file, open_file, telling_faults
from varde.store.first_words import FirstWordsTable
from varde.store.links import OwnLinks
from varde.store.log import Log
from varde.store.outbox import OutboxTable
from varde.store.people import Contacts, Pins
from varde.store.ratchets import KemPrekeys, Ratchets, SenderKeyTable
from varde.store.search import SearchTable
from varde.store.table import KEY_BYTES, Cell, StoreCipher, Table
from varde.store.transcript import TranscriptTable
from varde.store.transparency import LogTable
from varde.store.unlock import Argon2Cost, SlotKind, Unlock

STORE_NAME = "store.sqlite"
LOCK_NAME = "store.lock"
SALT_BYTES = 16
_PID_BYTES = 20

T = TypeVar("T")

_WRAPPED = Cell("slot", "wrapped", 1)


@contextmanager
def hold_lock(home: Path) -> Iterator[None]:
    """Lock the folder until the block ends, or the process dies. Raises StoreInUse.

    Two processes would use the same step of a ratchet twice.
    """
    with telling_faults:
        descriptor = os.open(home / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            # `flock`, not `lockf`: two stores opened in one process exclude each other, too, and no other descriptor of
            # the file lets the lock go when it is closed.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, _PID_BYTES, 0).decode(errors="replace").strip()
            who = f"another program (process {holder})" if holder.isdecimal() else "another program"
            raise StoreInUse(f"{who} uses this home folder") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)  # only to tell people: the lock is what counts
        yield
    finally:
        os.close(descriptor)  # releases the lock; the file stays, or a third process could lock another one


class Settings(Table):
    """Named values, encrypted. The names are constants of those who use them."""

    def find(self, name: str, kind: type[T]) -> T | None:
        """Return the value, or None."""
        row = self._database.row("SELECT sealed FROM setting WHERE name = ?", name)
        return None if row is None else self._decrypt(_setting_cell(name), row[0], kind)

    def put(self, name: str, value: object) -> None:
        """Write the value, new or again."""
        self._database.run(
            "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed",
            name,
            self._encrypt(_setting_cell(name), value),
        )

    def remove(self, name: str) -> None:
        """Forget the value."""
        self._database.run("DELETE FROM setting WHERE name = ?", name)


def _setting_cell(name: str) -> Cell:
    return Cell("setting", "sealed", name)


class Store:
    """Every table over one database and one cipher. Not for several threads; nothing here is a checkpoint."""

    def __init__(self, database: Database, cipher: StoreCipher, folder: Path | None = None) -> None:
        """`folder` is where it lies, for what is kept beside it."""
        self._database = database
        self.folder = folder
        self.settings = Settings(database, cipher)
        self.pins = Pins(database, cipher)
        self.conversations = Conversations(database, cipher)
        self.chains = Chains(database, cipher)
        self.first_words = FirstWordsTable(database, cipher)
        self.own_links = OwnLinks(database, cipher)
        self.receipts = Receipts(database, cipher)
        self.ratchets = Ratchets(database, cipher)
        self.kem_prekeys = KemPrekeys(database, cipher)
        self.sender_keys = SenderKeyTable(database, cipher)
        self.outbox = OutboxTable(database, cipher)
        self.own_numbers = OwnNumbers(database, cipher)
        self.transcript = TranscriptTable(database, cipher)
        self.log = Log(database, cipher)
        self.search = SearchTable(database, cipher, self.log)
        self.contacts = Contacts(database, cipher)
        self.transparency = LogTable(database, cipher)

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """Commit what the block does, all of it or nothing; a block inside a block joins it.

        A transaction that is not `durable` may be lost with the power: for what the relay would send again.
        """
        return self._database.transaction(durable=durable)


@asynccontextmanager
async def open_store(
    home: Path, unlock: Unlock, *, make: bool = False, connect: Connect = connect_file
) -> AsyncIterator[Store]:
    """Open the store of a home folder for the block; with `make`, make folder and store when they are absent.

    Raises NotEnrolled without a store, StoreInUse, WrongKey, StoreDamaged, StoreFailed. `connect` lets tests interfere.
    """
    home = _expand(home)
    path = _find_file(home, make=make)
    with hold_lock(home):
        database = open_file(path, connect)
        try:
            yield Store(database, await _unlock_cipher(database, unlock, make=make), home)
        finally:
            database.aclose_nowait()


def _expand(home: Path) -> Path:
    return home.expanduser()  # reads the environment, or at most the list of users


def _find_file(home: Path, *, make: bool) -> Path:
    path = home / STORE_NAME
    if make:
        with telling_faults:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A folder that was there keeps the mode it had: mkdir's is for a new one.
            home.chmod(0o700)
    elif not path.exists():
        raise NotEnrolled(f"there is no store in the home folder {home}")
    return path


async def _unlock_cipher(database: Database, unlock: Unlock, *, make: bool) -> StoreCipher:
    row = database.row("SELECT kind, salt, passes, memory, wrapped FROM slot")
    if row is None and not make:
        raise NotEnrolled("the making of this store was interrupted")
    if row is None:
        return await _make_cipher(database, unlock)
    kind, salt, passes, memory, wrapped = row
    if kind != unlock.kind:
        raise WrongKey(f"this store is opened with a {SlotKind(kind).value}")
    # A thread, because one guess at a passphrase is made to take a second.
    wrapping = await trio.to_thread.run_sync(unlock.wrapping_key, salt, Argon2Cost(passes, memory))
    try:
        return StoreCipher(StoreCipher(wrapping).decrypt(_WRAPPED, wrapped))
    # A wrong key and a changed row cannot be told apart; a person who mistyped is by far the likelier of the two.
    except StoreDamaged:
        raise WrongKey("this passphrase or key file does not open the store") from None


async def _make_cipher(database: Database, unlock: Unlock) -> StoreCipher:
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
            StoreCipher(wrapping).encrypt(_WRAPPED, key),
        )
    return StoreCipher(key)
