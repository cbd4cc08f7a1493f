"""The epochs of a store in memory: a test begins a new one by taking a copy of the memory back."""

from collections.abc import Mapping, Sequence

from domain.talk import model as talk_model
from simulation.stores.interference import Interference
from simulation.stores.memory import Memory
from varde_contract.ids import ConversationId, EpochId


class MemoryEpochs:
    """A `domain.talk.ports.EpochStore`."""

    def __init__(self, memory: Memory, interference: Interference) -> None:
        self._memory = memory
        self._interference = interference

    @property
    def known(self) -> Sequence[EpochId]:
        """As promised."""
        return [epoch for epoch, _ in self._memory.epochs]

    async def look(self) -> None:
        """As promised."""
        await self._interference.let_through()

    async def heads(
        self, conversations: Sequence[ConversationId]
    ) -> Mapping[ConversationId, Sequence[talk_model.EpochHead]]:
        """As promised."""
        await self._interference.let_through()
        return {
            each: [talk_model.EpochHead(epoch, heads.get(each, 0)) for epoch, heads in self._memory.epochs]
            for each in conversations
        }
