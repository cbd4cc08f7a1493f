"""The members of a group: added, given roles, removed, and leaving.

The rules themselves are in `domain.talk.membership`.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from domain.people.model import Actor, RosterChange
from domain.people.ports import ProfileStore
from domain.ports import Bus
from domain.talk import membership
from domain.talk.conversations import is_reachable
from domain.talk.events import MembershipChanged
from domain.talk.model import Roster
from domain.talk.ports import ConversationStore, MemberFault
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import Role

TRIES: Final = 5
RETRY: Final = 1_000

Decide: TypeAlias = Callable[[Roster, DeviceId], Refused | None]
Store: TypeAlias = Callable[[int], Awaitable[RosterChange | MemberFault | Refused]]

_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "This device belongs to no such conversation.")
_NO_PROFILE: Final = Refused(RefusalCode.NOT_FOUND, "The profile does not exist or cannot be written to yet.")
_NO_MEMBER: Final = Refused(RefusalCode.NOT_FOUND, "The conversation has no such member.")
_ALREADY: Final = Refused(RefusalCode.ALREADY_MEMBER, "The profile is a member already.")
_TOO_MANY: Final = Refused(RefusalCode.TOO_MANY, f"A conversation has at most {MEMBERS_PER_CONVERSATION} members.")
_BUSY: Final = Refused(
    RefusalCode.OVERLOADED, "The members keep changing. Try again in a moment.", retry_after_ms=RETRY
)


class Members:
    """The members of all groups, as the devices that belong may change them."""

    def __init__(self, store: ConversationStore, profiles: ProfileStore, bus: Bus) -> None:
        self._store = store
        self._profiles = profiles
        self._bus = bus

    async def add(
        self, actor: Actor, conversation: ConversationId, profile: ProfileId, role: Role, *, as_profile: ProfileId
    ) -> Refused | None:
        """Add a member, who gets what is sent from now on.

        Refuses `no-device`, `not-found`, `wrong-kind`, `profile-not-allowed`, `not-allowed`, `already-member`,
        `too-many` and `overloaded`.
        """

        def decide(roster: Roster, device: DeviceId) -> Refused | None:
            return membership.refuse_add(roster, device, as_profile=as_profile, profile=profile, role=role)

        async def store(version: int) -> RosterChange | MemberFault | Refused:
            owner = (await self._profiles.owners([profile])).get(profile)
            if owner is None or not is_reachable(owner):
                return _NO_PROFILE
            member = (profile, owner.id, role)
            return await self._store.add_member(conversation, version, member, most=MEMBERS_PER_CONVERSATION)

        return await self._change(actor, conversation, decide, store)

    async def set_role(
        self, actor: Actor, conversation: ConversationId, profile: ProfileId, role: Role, *, as_profile: ProfileId
    ) -> Refused | None:
        """Give a member another role.

        Refuses `no-device`, `not-found`, `wrong-kind`, `profile-not-allowed`, `not-allowed`, `last-owner` and
        `overloaded`.
        """

        def decide(roster: Roster, device: DeviceId) -> Refused | None:
            return membership.refuse_role(roster, device, as_profile=as_profile, profile=profile, role=role)

        async def store(version: int) -> RosterChange | MemberFault | Refused:
            return await self._store.set_role(conversation, version, profile, role)

        return await self._change(actor, conversation, decide, store)

    async def remove(
        self, actor: Actor, conversation: ConversationId, profile: ProfileId, *, as_profile: ProfileId | None = None
    ) -> Refused | None:
        """Remove a member, or leave.

        Refuses `no-device`, `not-found`, `wrong-kind`, `malformed` (say `as_profile`), `profile-not-allowed`,
        `not-allowed`, `last-owner` and `overloaded`.
        """

        def decide(roster: Roster, device: DeviceId) -> Refused | None:
            return membership.refuse_removal(roster, device, as_profile=as_profile, profile=profile)

        async def store(version: int) -> RosterChange | MemberFault | Refused:
            return await self._store.remove_member(conversation, version, profile)

        return await self._change(actor, conversation, decide, store)

    async def _change(self, actor: Actor, conversation: ConversationId, decide: Decide, store: Store) -> Refused | None:
        if actor.device is None:
            return _NO_DEVICE
        # Decided here, checked by version in the store: the same rule is not written a second time in SQL, and a roster
        # that moved in between costs another round, never a change that was not allowed.
        for _ in range(TRIES):
            roster = (await self._store.rosters([conversation])).get(conversation)
            if roster is None or actor.device not in roster.devices:
                return _UNKNOWN
            outcome = decide(roster, actor.device) or await store(roster.version)
            if isinstance(outcome, RosterChange):
                await self._bus.publish([MembershipChanged(conversation, outcome.version)])
                return None
            if outcome is not MemberFault.MOVED:
                return outcome if isinstance(outcome, Refused) else _refusal(outcome)
        return _BUSY


def _refusal(fault: MemberFault) -> Refused:
    match fault:
        case MemberFault.MOVED:
            return _BUSY
        case MemberFault.ALREADY_MEMBER:
            return _ALREADY
        case MemberFault.TOO_MANY:
            return _TOO_MANY
        case MemberFault.NO_MEMBER:
            return _NO_MEMBER
