"""Sealed cards, in memory."""

from domain.talk.model import SealedCard
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from varde_contract.card import CARD_STEP
from varde_contract.ids import AccountId, ConversationId, ProfileId


class MemoryCards:
    """A `domain.talk.ports.CardStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    async def put_profile(self, account: AccountId, profile: ProfileId, card: SealedCard) -> SealedCard | None:
        """As promised. Like the database, insists on the profile."""
        await self._interference.let_through()
        assert self._memory.profiles[profile].account == account
        return self._put(profile, card)

    async def profile(self, account: AccountId, profile: ProfileId) -> SealedCard | None:
        """As promised."""
        await self._interference.let_through()
        found = self._memory.profiles.get(profile)
        return None if found is None or found.account != account else self._memory.cards.get(profile)

    async def put_group(self, conversation: ConversationId, card: SealedCard) -> SealedCard | None:
        """As promised. Like the database, insists on the conversation."""
        await self._interference.let_through()
        assert conversation in self._memory.talks
        return self._put(conversation, card)

    async def group(self, conversation: ConversationId) -> SealedCard | None:
        """As promised."""
        await self._interference.let_through()
        return self._memory.cards.get(conversation)

    def _put(self, place: ProfileId | ConversationId, card: SealedCard) -> SealedCard | None:
        present = self._memory.cards.get(place)
        before = 0 if present is None else present.number
        if before < card.number <= before + CARD_STEP:
            self._memory.cards[place] = card
        return self._memory.cards.get(place)
