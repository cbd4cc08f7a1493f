"""Conversations, listed and viewed by the devices that belong to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.people.model import Actor
from domain.people.ports import DeviceStore
from domain.talk.model import RosterView, Summary
from domain.talk.ports import ConversationStore
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode, Refused

_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "This device belongs to no such conversation.")


@dataclass(frozen=True, slots=True)
class Page:
    """Conversations in the order of their ids; `following` is where the next page starts after, if there is one."""

    summaries: Sequence[Summary]
    following: ConversationId | None


class Conversations:
    """All conversations, each seen by the devices that belong to it."""

    def __init__(self, store: ConversationStore, devices: DeviceStore) -> None:
        self._store = store
        self._devices = devices

    async def view(self, actor: Actor, conversation: ConversationId) -> RosterView | Refused:
        """Return the roster with what it is checked by, to members and to who is invited.

        Who is invited needs the device lists to verify the statements. Refuses `no-device` and `not-found`.
        """
        if actor.device is None:
            return _NO_DEVICE
        view = await self._store.view(conversation)
        if view is not None and (actor.device in view.roster.devices or await self._is_invited(actor, view)):
            return view
        # One answer for what is not there and what is not theirs: the difference would tell an outsider something.
        return _UNKNOWN

    async def list_for(self, actor: Actor, after: ConversationId | None, limit: int) -> Page | Refused:
        """Return the conversations that the actor's device receives for. Refuses `no-device`."""
        if actor.device is None:
            return _NO_DEVICE
        # One more than the page holds says whether there is another page.
        found = await self._store.list_for(actor.device, after, limit + 1)
        page = found[:limit]
        return Page(page, page[-1].conversation if len(found) > limit else None)

    async def _is_invited(self, actor: Actor, view: RosterView) -> bool:
        if actor.device is None or actor.account not in view.invited.values():
            return False
        device = await self._devices.find(actor.account, actor.device)
        return device is not None and any(view.invited.get(each) == actor.account for each in device.profiles)
