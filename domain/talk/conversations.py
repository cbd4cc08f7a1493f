"""Conversations: opened as a profile of the session's device, listed and viewed by the devices that belong to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.people.model import Account, Actor
from domain.people.ports import DeviceStore, ProfileStore
from domain.ports import Bus, Clock, Entropy
from domain.talk.events import MembershipChanged
from domain.talk.model import RosterView, Summary
from domain.talk.ports import ConversationStore, NewRoster
from varde_contract.ids import ENTROPY_BYTES, AccountId, ConversationId, ProfileId, uuid7
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind, Role

_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_NOT_HELD: Final = Refused(RefusalCode.PROFILE_NOT_ALLOWED, "The session's device does not receive for that profile.")
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "This device belongs to no such conversation.")
_DM_OF_TWO: Final = Refused(RefusalCode.MALFORMED, "A dm names exactly one other profile in members.")
_SELF_OF_ONE: Final = Refused(RefusalCode.MALFORMED, "A conversation with oneself names nobody in members.")
_TOO_MANY: Final = Refused(RefusalCode.TOO_MANY, f"A conversation has at most {MEMBERS_PER_CONVERSATION} members.")


@dataclass(frozen=True, slots=True)
class Opened:
    """A conversation; without `made` it had been there before."""

    view: RosterView
    made: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Conversations in the order of their ids; `following` is where the next page starts after, if there is one."""

    summaries: Sequence[Summary]
    following: ConversationId | None


class Conversations:
    """All conversations, each seen by the devices that belong to it."""

    def __init__(
        self,
        store: ConversationStore,
        profiles: ProfileStore,
        devices: DeviceStore,
        bus: Bus,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._profiles = profiles
        self._devices = devices
        self._bus = bus
        self._clock = clock
        self._entropy = entropy

    async def open(
        self, actor: Actor, kind: ConversationKind, profile: ProfileId, members: Sequence[ProfileId]
    ) -> Opened | Refused:
        """Open a conversation as `profile`; the same dm or self again is the one that is there.

        Every member's account has a device list, because without it nobody could check its devices; there need not be a
        device in it. Refuses `no-device`, `profile-not-allowed`, `malformed`, `too-many` and `not-found`.
        """
        others = tuple(dict.fromkeys(member for member in members if member != profile))
        refused = await self._refuse_acting(actor, profile) or _refuse_shape(kind, len(members), len(others))
        if refused is not None:
            return refused
        owners = await self._profiles.owners([profile, *others])
        named = [("profile", profile), *((f"members[{index}]", member) for index, member in enumerate(members))]
        for name, member in named:
            if not is_reachable(owners.get(member)):
                return Refused(RefusalCode.NOT_FOUND, f"{name} does not exist or cannot be written to yet.")
        roles = [(member, owners[member].id, _role(kind, member, profile)) for member in (profile, *others)]
        return await self._store_new(actor, kind, roles)

    async def view(self, actor: Actor, conversation: ConversationId) -> RosterView | Refused:
        """Return the roster with what it is checked by. Refuses `no-device` and `not-found`."""
        if actor.device is None:
            return _NO_DEVICE
        view = await self._store.view(conversation)
        # One answer for what is not there and what is not theirs: the difference would tell an outsider something.
        return view if view is not None and actor.device in view.roster.devices else _UNKNOWN

    async def list_for(self, actor: Actor, after: ConversationId | None, limit: int) -> Page | Refused:
        """Return the conversations that the actor's device receives for. Refuses `no-device`."""
        if actor.device is None:
            return _NO_DEVICE
        # One more than the page holds says whether there is another page.
        found = await self._store.list_for(actor.device, after, limit + 1)
        page = found[:limit]
        return Page(page, page[-1].conversation if len(found) > limit else None)

    async def _refuse_acting(self, actor: Actor, profile: ProfileId) -> Refused | None:
        if actor.device is None:
            return _NO_DEVICE
        device = await self._devices.find(actor.account, actor.device)
        return None if device is not None and profile in device.profiles else _NOT_HELD

    async def _store_new(
        self, actor: Actor, kind: ConversationKind, members: Sequence[tuple[ProfileId, AccountId, Role]]
    ) -> Opened | Refused:
        now = self._clock()
        ids = sorted(profile for profile, _, _ in members)
        new = NewRoster(
            conversation=ConversationId(uuid7(now, self._entropy(ENTROPY_BYTES))),
            kind=kind,
            members=members,
            pair=None if kind is ConversationKind.GROUP else (ids[0], ids[-1]),
            created_ms=now,
        )
        conversation, made = await self._store.open(new)
        view = await self.view(actor, conversation)
        if isinstance(view, Refused):
            return view
        # Not when it had been there: its members know it, and a dm may be opened again with every message.
        if made:
            await self._bus.publish([MembershipChanged(conversation, view.roster.version)])
        return Opened(view, made)


def is_reachable(owner: Account | None) -> bool:
    """Whether a profile's owner can be a member: its devices can be checked, be they registered only later."""
    return owner is not None and owner.list_number > 0


def _refuse_shape(kind: ConversationKind, named: int, others: int) -> Refused | None:
    match kind:
        case ConversationKind.DM:
            return None if others == 1 else _DM_OF_TWO
        case ConversationKind.SELF:
            return None if named == 0 else _SELF_OF_ONE
        case ConversationKind.GROUP:
            return None if others < MEMBERS_PER_CONVERSATION else _TOO_MANY


def _role(kind: ConversationKind, member: ProfileId, opener: ProfileId) -> Role:
    # In a dm nobody rules; its members never change.
    return Role.OWNER if kind is not ConversationKind.DM and member == opener else Role.MEMBER
