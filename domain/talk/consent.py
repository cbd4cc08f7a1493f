"""Consent: who may ask whom into a conversation, how often, and who does not want to be asked.

An invitation gives nothing before it is accepted: who is invited is in no roster, so neither side gets presence,
typing, receipts or messages of the other. What is decided here is who is bothered with it.
"""

from collections.abc import Collection, Sequence
from typing import Final

from domain.budgets import Budget, Budgets
from domain.people.model import Actor
from domain.ports import Bus, Clock
from domain.talk.events import Invited
from domain.talk.model import Block, Reach, Words
from domain.talk.ports import ConsentStore
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.limits import BLOCKS_PER_ACCOUNT, REQUESTS_PER_ACCOUNT
from varde_contract.people import FoundBy
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import FirstWords

NO_PROFILE: Final = Refused(RefusalCode.NOT_FOUND, "One of the profiles does not exist or cannot be written to yet.")
_WAITS: Final = Refused(
    RefusalCode.TOO_MANY, f"{REQUESTS_PER_ACCOUNT} requests of this account wait for that person. Wait for an answer."
)
_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_NO_INVITATION: Final = Refused(RefusalCode.NOT_FOUND, "No invitation of this account waits there for an answer.")
_BLOCKS: Final = Refused(RefusalCode.TOO_MANY, f"An account blocks at most {BLOCKS_PER_ACCOUNT} others.")
_ONESELF: Final = Refused(RefusalCode.NOT_ALLOWED, "An account does not block itself.")


class Consent:
    """Whom the accounts may ask, and whom they have blocked."""

    def __init__(self, store: ConsentStore, bus: Bus, budgets: Budgets, *, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._budgets = budgets
        self._clock = clock

    async def may_find(self, actor: Actor, profile: ProfileId) -> bool:
        """Whether the actor may know whose the profile is: who may ask it may, and who must verify what it signed."""
        reach = (await self._store.reach(actor.account, [profile], self._clock())).get(profile)
        return reach is not None and (reach.shares or reach.signed or _may_ask(actor.account, reach))

    async def may_ask(self, account: AccountId, profile: ProfileId) -> bool:
        """Whether the account may ask the profile, as far as the profile's own policy goes."""
        reach = (await self._store.reach(account, [profile], self._clock())).get(profile)
        return reach is not None and _may_ask(account, reach)

    async def judge(self, account: AccountId, invited: Collection[ProfileId]) -> Collection[ProfileId] | Refused:
        """Return which of these profiles are told that they are invited. Refuses `not-found`, `too-many` and
        `rate-limited`.

        Who is blocked is answered as if nothing were: its invitations are stored, count and wait like all others, and
        nobody sees them. Otherwise one attempt would show it.
        """
        if not invited:
            return ()
        reaches = await self._store.reach(account, list(invited), self._clock())
        if any(each not in reaches or not _may_ask(account, reaches[each]) for each in invited):
            return NO_PROFILE
        if any(reach.waiting >= REQUESTS_PER_ACCOUNT for reach in reaches.values()):
            return _WAITS
        # Last: what is refused for another reason costs no budget.
        strangers = sum(not reach.shares and not reach.linked and reach.owner != account for reach in reaches.values())
        refused = self._budgets.spend(account, Budget.STRANGERS, strangers) if strangers else None
        return refused or [profile for profile, reach in reaches.items() if not reach.blocked]

    async def put_words(
        self, actor: Actor, conversation: ConversationId, profile: ProfileId, sent: FirstWords
    ) -> Refused | None:
        """Keep the first words of an invitation until it is answered. Refuses `no-device`, `not-found`, `rate-limited`.

        Again replaces them. Who wrote them is for the reader to verify: what is stored is what was said.
        """
        if actor.device is None:
            return _NO_DEVICE
        # Before the store is asked: what is refused there would otherwise cost nothing, however often.
        refused = self._budgets.spend_send(actor.account, sum(map(len, sent.devices.values())), len(sent.devices))
        if refused is not None:
            return refused
        device = actor.device
        words = {to: Words(sent.client_id, sent.profile, device, sealed) for to, sealed in sent.devices.items()}
        told = await self._store.put_words(actor.account, conversation, profile, words)
        if told is None:
            return _NO_INVITATION
        reach = (await self._store.reach(actor.account, [profile], self._clock())).get(profile)
        if reach is not None and not reach.blocked:
            # Once more after the invitation: what these words prove may let the one who wrote them in.
            await self._bus.publish([Invited(each) for each in told])
        return None

    async def block(self, actor: Actor, account: AccountId) -> Refused | None:
        """Hide what the account asks, now and later. It is never told. Refuses `not-allowed` and `too-many`."""
        if account == actor.account:
            return _ONESELF
        stored = await self._store.block(actor.account, account, self._clock(), BLOCKS_PER_ACCOUNT)
        return None if stored else _BLOCKS

    async def unblock(self, actor: Actor, account: AccountId) -> None:
        """Show again what the account asks."""
        await self._store.unblock(actor.account, account)

    async def blocks(self, actor: Actor) -> Sequence[Block]:
        """Return whom the actor has blocked."""
        return await self._store.blocks(actor.account)


def _may_ask(account: AccountId, reach: Reach) -> bool:
    # Who was given a link was asked to ask: that is more than `found_by` says of everybody.
    if reach.owner == account or reach.linked:
        return True
    return reach.found_by is FoundBy.EVERYONE or (reach.found_by is FoundBy.SHARED and reach.shares)
