"""The cache of rosters: bounded, fetched once however many ask, dropped when the bus says that they changed."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from domain.talk.model import Roster
from domain.talk.ports import ConversationStore
from relay.cache.batching import BatchedLoader
from varde_contract.ids import ConversationId, DeviceId, ProfileId

CAPACITY: Final = 50_000
"""Rosters; a small one takes about 2 KB."""
ROSTERS_PER_QUERY: Final = 256
QUERIES_AT_ONCE: Final = 2


class Rosters:
    """A cache of rosters; the least recently used go first. The bus calls the plain functions that drop rosters."""

    def __init__(self, store: ConversationStore, capacity: int = CAPACITY) -> None:
        self._store = store
        self._capacity = capacity
        self._kept: OrderedDict[ConversationId, Roster] = OrderedDict()
        self._by_profile: defaultdict[ProfileId, set[ConversationId]] = defaultdict(set)
        self._loader = BatchedLoader(self._load, concurrency=QUERIES_AT_ONCE, batch_size=ROSTERS_PER_QUERY)
        self._changes = 0

    def get_nowait(self, conversation: ConversationId) -> Roster | None:
        """Return the roster if it is cached."""
        roster = self._kept.get(conversation)
        # Every message asks, and to hash a UUID takes Python. In a cache that is half empty nothing is dropped before
        # as many others were fetched as it holds now, and until then who is used has moved.
        if roster is not None and len(self._kept) > self._capacity // 2:
            self._kept.move_to_end(conversation)
        return roster

    def version_nowait(self, conversation: ConversationId) -> int | None:
        """Return the version of the roster if it is cached. This does not count as a use of it."""
        roster = self._kept.get(conversation)
        return None if roster is None else roster.version

    async def get(self, conversation: ConversationId) -> Roster | None:
        """Return the roster, from the cache or the store; None when there is no such conversation.

        Raises StoreUnavailable. A checkpoint only when the store is asked.
        """
        return self.get_nowait(conversation) or (await self.fetch([conversation])).get(conversation)

    async def find(self, conversation: ConversationId, device: DeviceId) -> Roster | None:
        """Return the roster if the device belongs to it. Raises StoreUnavailable.

        The cache alone never says no: the device may have been added a moment ago, on another node.
        """
        roster = self.get_nowait(conversation)
        if roster is None or device not in roster.devices:
            roster = (await self.fetch([conversation])).get(conversation)
        return None if roster is None or device not in roster.devices else roster

    async def fetch(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, Roster]:
        """Read rosters from the store, and cache them; none is older than this call. Raises StoreUnavailable."""
        return await self._loader.get_many(conversations)

    async def remember(self, conversations: Iterable[ConversationId]) -> None:
        """Fetch those that are not cached, for what only looks in the cache later. Raises StoreUnavailable."""
        unknown = [each for each in conversations if each not in self._kept]
        if unknown:
            await self.fetch(unknown)

    def containing(self, profile: ProfileId) -> frozenset[ConversationId]:
        """Return those conversations of a profile whose rosters are cached."""
        return frozenset(self._by_profile.get(profile, ()))

    def forget(self, conversation: ConversationId) -> None:
        """Drop a roster that changed."""
        self._changes += 1
        self._drop(conversation)

    def forget_profile(self, profile: ProfileId) -> None:
        """Drop every roster with a profile that changed."""
        self._changes += 1
        for conversation in self.containing(profile):
            self._drop(conversation)

    def forget_all(self) -> None:
        """Drop everything: changes may have been missed."""
        self._changes += 1
        self._kept.clear()
        self._by_profile.clear()

    def __len__(self) -> int:
        return len(self._kept)

    async def _load(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, Roster]:
        changes = self._changes
        rosters = await self._store.rosters(conversations)
        # A roster that changed during the query may be stale in its answer: good enough for those who asked before the
        # change, but not to be cached. Any change at all discards the batch: coarse, so it cannot be wrong.
        if changes == self._changes:
            for roster in rosters.values():
                self._keep(roster)
        return rosters

    def _keep(self, roster: Roster) -> None:
        # The one before may have had other members, and stood elsewhere in the order of use.
        self._drop(roster.conversation)
        self._kept[roster.conversation] = roster
        for profile in roster.members:
            self._by_profile[profile].add(roster.conversation)
        while len(self._kept) > self._capacity:
            self._drop(next(iter(self._kept)))

    def _drop(self, conversation: ConversationId) -> None:
        roster = self._kept.pop(conversation, None)
        for profile in roster.members if roster else ():
            conversations = self._by_profile[profile]
            conversations.discard(conversation)
            if not conversations:
                del self._by_profile[profile]
