"""The one database of a simulated fleet: the stores in memory behind a network, which is slow, away, or answers nobody.

Every process has stores of its own over the same memory. A call that was carried out is shown to the observers in the
order in which it was, whether or not its answer arrives.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import trio

from domain.ports import Bus, Stores, StoreUnavailable
from simulation.determinism import now_ms
from simulation.stores import open_memory_stores
from simulation.stores.memory import Memory, StoredConversation
from varde_contract.ids import ConversationId, EpochId, uuid7

STORES: Final = tuple(name for name in Stores.__struct_fields__ if name not in {"bus", "stale_log"})
"""There is no standby here: nothing is read that may be stale."""
AT_ONCE: Final = frozenset({"look", "recent_heads", "revocations", "beat", "fits"})
"""Asked again and again by each node, and answered without latency: it would be half of what a simulation costs."""
PATIENCE: Final = 5.0
"""Seconds until a call to a database that answers nobody is given up, as the real pool does."""

Observe = Callable[[str, tuple[Any, ...], Any], None]


@dataclass(eq=False)
class Process:
    """A process that uses the database. `dead`: what it still does reaches nobody."""

    name: str
    dead: bool = False
    away: bool = False
    """Whether it cannot reach the database, while others can."""
    crash_in_commit: bool = False
    """Whether it is to die between its next commit and the answer."""
    die: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class Copy:
    """A backup."""

    talks: Mapping[ConversationId, StoredConversation]
    pairs: Mapping[Any, ConversationId]


class Database:
    """The memory, its faults, and who watches."""

    def __init__(self, memory: Memory, random: Random, entropy: Callable[[int], bytes]) -> None:
        self.memory = memory
        self.away = False
        """Whether every call is refused."""
        self.silent = False
        """Whether every call waits in vain."""
        self.lose_answers = 0.0
        """How many of the calls are carried out, and not answered."""
        self.slow = 1.0
        self.observe: Observe = lambda _method, _arguments, _result: None
        self._random = random
        self._entropy = entropy

    def open_stores(self, process: Process, bus: Bus) -> Stores:
        """Return the stores of one process."""
        inner = open_memory_stores(memory=self.memory)
        stores = {name: FaultyStore(getattr(inner, name), self, process) for name in STORES}
        return Stores(**stores, bus=bus)

    async def call(self, process: Process, method: Callable[..., Any], arguments: tuple[Any, ...], more: Any) -> Any:
        """Carry a call out, or fail as the network does. Raises StoreUnavailable."""
        name = method.__name__
        if name not in AT_ONCE or process.dead or self.silent:
            await self._travel(process)
        if self.away or process.away:
            raise StoreUnavailable("the simulated database is away")
        result = await method(*arguments, **more)
        self.observe(name, (*arguments, *more.values()), result)  # no checkpoint since it was carried out
        if name == "commit" and process.crash_in_commit:
            process.crash_in_commit = False
            process.die()
        # No exception: what a dead process would do with one (try again, tell its clients) must not happen either.
        if process.dead:
            await trio.sleep_forever()
        if self.lose_answers and self._random.random() < self.lose_answers:
            raise StoreUnavailable("the simulated database's answer was lost")
        if name not in AT_ONCE:
            await self._travel(process)
        return result

    async def _travel(self, process: Process) -> None:
        if process.dead:
            await trio.sleep_forever()
        if self.silent:
            await trio.sleep(PATIENCE)
            raise StoreUnavailable("the simulated database does not answer")
        await trio.sleep(self._random.uniform(0.0005, 0.004) * self.slow)

    def back_up(self) -> Copy:
        """Take a backup of conversations, their logs and positions."""
        return Copy(copy.deepcopy(self.memory.talks), dict(self.memory.pairs))

    def restore(self, backup: Copy) -> None:
        """Put a backup back: an epoch begins, as `varde server restore` makes one begin.

        Accounts, sessions, lists and prekeys stay, so that what is lost is only what clients can send again.
        """
        heads = {each.id: each.head for each in backup.talks.values()}
        self.memory.talks = dict(copy.deepcopy(backup.talks))
        self.memory.pairs = dict(backup.pairs)
        self.memory.epochs.insert(0, (EpochId(uuid7(now_ms(), self._entropy(10))), heads))


class FaultyStore:
    """A store behind the network: every coroutine goes through `Database.call`, everything else is as it is."""

    def __init__(self, inner: Any, database: Database, process: Process) -> None:
        self._inner = inner
        self._database = database
        self._process = process

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        async def call(*arguments: Any, **more: Any) -> Any:
            return await self._database.call(self._process, found, arguments, more)

        return call
