"""Sealed cards: who may change and see the name and picture of a profile or a group. Nobody here can open them."""

from typing import Final

from domain.budgets import Budget, Budgets
from domain.people.model import Actor
from domain.people.ports import ProfileStore
from domain.ports import Clock
from domain.talk.model import SealedCard
from domain.talk.ports import CardStore, ConsentStore, ConversationStore
from varde_contract.card import SEALED_BYTES
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind

_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_NONE: Final = Refused(RefusalCode.NOT_FOUND, "There is no such card that this account may see.")
_NOT_OWN: Final = Refused(RefusalCode.NOT_FOUND, "The account has no such profile.")
_NO_GROUP: Final = Refused(RefusalCode.NOT_FOUND, "This device belongs to no such conversation.")
_NOT_A_GROUP: Final = Refused(RefusalCode.WRONG_KIND, "Only groups have a card of their own.")
_SIZE: Final = Refused(RefusalCode.BAD_CARD, "A sealed card has one of four sizes: pad it.")
_STALE: Final = Refused(
    RefusalCode.STALE_CARD, "A card's number is a little larger than that of the card before. Fetch it, and add one."
)


class Cards:
    """The cards of all profiles and groups."""

    def __init__(
        self,
        store: CardStore,
        profiles: ProfileStore,
        consent: ConsentStore,
        conversations: ConversationStore,
        budgets: Budgets,
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._profiles = profiles
        self._consent = consent
        self._conversations = conversations
        self._budgets = budgets
        self._clock = clock

    async def put_profile(self, actor: Actor, profile: ProfileId, card: SealedCard) -> SealedCard | Refused:
        """Store a card of one of the actor's profiles. The same again answers the same.

        Refuses `bad-card`, `rate-limited`, `not-found` and `stale-card`.
        """
        if refused := self._judge(actor, card):
            return refused
        if await self._profiles.find(actor.account, profile) is None:
            return _NOT_OWN
        return _stored(await self._store.put_profile(actor.account, profile, card), card)

    async def find_profile(self, actor: Actor, profile: ProfileId) -> SealedCard | Refused:
        """Return the card of a profile that shares a conversation with the actor, or between whom a request is open;
        or to which the actor has used a link.

        Who is blocked is answered as before: it would be told otherwise. Refuses `not-found`.
        """
        reach = (await self._consent.reach(actor.account, [profile], self._clock())).get(profile)
        if reach is None or not (
            reach.owner == actor.account or reach.shares or reach.linked or reach.waiting or reach.asks
        ):
            return _NONE
        return await self._store.profile(reach.owner, profile) or _NONE

    async def put_group(self, actor: Actor, conversation: ConversationId, card: SealedCard) -> SealedCard | Refused:
        """Store a card of a group that the actor's device belongs to. The same again answers the same.

        Every member may, and all see who signed it. Refuses `bad-card`, `rate-limited`, `no-device`, `not-found`,
        `wrong-kind` and `stale-card`.
        """
        if refused := self._judge(actor, card):
            return refused
        kind = await self._kind(actor, conversation)
        if isinstance(kind, Refused):
            return kind
        if kind is not ConversationKind.GROUP:
            return _NOT_A_GROUP
        return _stored(await self._store.put_group(conversation, card), card)

    async def find_group(self, actor: Actor, conversation: ConversationId) -> SealedCard | Refused:
        """Return the card of a group that the actor's device belongs to. Refuses `no-device` and `not-found`."""
        kind = await self._kind(actor, conversation)
        if isinstance(kind, Refused):
            return kind
        return await self._store.group(conversation) or _NONE

    def _judge(self, actor: Actor, card: SealedCard) -> Refused | None:
        if len(card.sealed) not in SEALED_BYTES:
            return _SIZE
        # Each replaces the one before, but the database writes all of them.
        return self._budgets.spend(actor.account, Budget.STORED_BYTES, len(card.sealed))

    async def _kind(self, actor: Actor, conversation: ConversationId) -> ConversationKind | Refused:
        if actor.device is None:
            return _NO_DEVICE
        roster = (await self._conversations.rosters([conversation])).get(conversation)
        return roster.kind if roster is not None and actor.device in roster.devices else _NO_GROUP


def _stored(newest: SealedCard | None, card: SealedCard) -> SealedCard | Refused:
    # Word for word the same may come again, when its answer was lost.
    return card if newest == card else _STALE
