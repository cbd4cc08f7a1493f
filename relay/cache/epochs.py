"""The epochs of the store, as clients are told of them: a new one means that something they have is lost here."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

import trio

from domain.ports import StoreUnavailable
from domain.talk.ports import EpochStore
from varde_contract.frames import EpochHead
from varde_contract.ids import ConversationId, EpochId

PERIOD: Final = 1.0
"""Seconds between two looks. They only remember how far the store is: a new connection to the database is looked at
before it is used, and `check` is asked before anything that came over it is told."""


class Epochs:
    """Says which epochs there are, and when there is a new one."""

    def __init__(self, store: EpochStore, changed: Callable[[], None]) -> None:
        """`changed` is called after each new epoch."""
        self._store = store
        self._changed = changed
        self._told = self.current

    @property
    def current(self) -> EpochId:
        """The present one."""
        return self._store.known[0]

    async def heads(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, Sequence[EpochHead]]:
        """Return what each conversation had kept when each epoch began. Raises StoreUnavailable.

        A store that never lost anything has one epoch, and is not asked.
        """
        if len(self._store.known) == 1:
            return dict.fromkeys(conversations, (EpochHead(self.current, 0),))
        heads = await self._store.heads(conversations)
        return {each: [EpochHead(head.epoch, head.head) for head in found] for each, found in heads.items()}

    def check(self) -> bool:
        """Whether the epoch is still the one that the connected peers know. If it is not, all of them are cut.

        To be asked between an answer of the database and telling anybody of it: their numbers are others.
        """
        if self.current == self._told:
            return True
        self._told = self.current
        self._changed()
        return False

    async def run(self) -> NoReturn:
        """Look again and again, for as long as the node lives."""
        while True:
            await trio.sleep(PERIOD)
            with suppress(StoreUnavailable):  # whoever needs the database says that it is away
                await self._store.look()
            self.check()
