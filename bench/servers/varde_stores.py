"""The stores of a relay without a database: rosters computed from the plan, and a journal that commits at once."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import trio

from bench.rooms import Plan, account_of, conversation_of, device_of, number_of, profile_of
from domain.events import Event
from domain.people import model as people
from domain.ports import Stores
from domain.talk import model as talk
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.talk import ConversationKind, Role

VERSION: Final = 1


class PlannedConversations:
    """Every room of the plan is a group, and its roster never moves."""

    def __init__(self, plan: Plan, heads: Counter[ConversationId]) -> None:
        self._plan = plan
        self._heads = heads

    async def rosters(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, talk.Roster]:
        """Return the rosters."""
        await trio.lowlevel.checkpoint()
        return {each: _roster(each, self._plan.members_of(number_of(each))) for each in conversations}

    async def list_for(self, device: DeviceId, after: ConversationId | None, limit: int) -> Sequence[talk.Summary]:
        """Return the one conversation of the device."""
        await trio.lowlevel.checkpoint()
        return () if after is not None or limit < 1 else (self._summary(number_of(device)),)

    async def list_many(self, requests: Sequence[talk.ListRequest]) -> Sequence[Sequence[talk.ConversationHead]]:
        """Return the same for each request."""
        await trio.lowlevel.checkpoint()
        return [() if request.after is not None else (self._standing(request),) for request in requests]

    async def log_heads(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, talk.LogHead]:  # noqa: ARG002 - nothing is looked up
        """Know of nothing that this node has not heard of: there is no other."""
        await trio.lowlevel.checkpoint()
        return {}

    def _summary(self, member: int) -> talk.Summary:
        conversation = conversation_of(self._plan.room_of(member))
        head = self._heads[conversation]
        return talk.Summary(conversation, ConversationKind.GROUP, (profile_of(member),), head, head, VERSION)

    def _standing(self, request: talk.ListRequest) -> talk.ConversationHead:
        conversation = conversation_of(self._plan.room_of(number_of(request.device)))
        head = self._heads[conversation]
        return talk.ConversationHead(conversation, head, head, VERSION)


class CountingJournal:
    """Numbers messages, and that is all."""

    def __init__(self, heads: Counter[ConversationId]) -> None:
        self._heads = heads

    async def commit(self, drafts: Sequence[talk.Draft]) -> Sequence[talk.Committed | talk.RosterOutdated]:
        """Give each draft the next number of its conversation."""
        await trio.lowlevel.checkpoint()
        return [self._number(draft) for draft in drafts]

    async def find_committed(self, keys: Sequence[talk.SendKey]) -> Sequence[talk.Committed | None]:
        """Remember none."""
        await trio.lowlevel.checkpoint()
        return [None] * len(keys)

    def _number(self, draft: talk.Draft) -> talk.Committed:
        seq = self._heads[draft.conversation] + 1
        self._heads[draft.conversation] = seq
        return talk.Committed(draft.message, seq, draft.sent_ms, duplicate=False)


class EmptyMailbox:
    """A log in which every device has confirmed everything."""

    def __init__(self, plan: Plan, heads: Counter[ConversationId]) -> None:
        self._plan = plan
        self._heads = heads

    async def read(self, requests: Sequence[talk.LogRequest]) -> Sequence[talk.LogPage | None]:
        """Return pages without an entry."""
        await trio.lowlevel.checkpoint()
        return [self._page(request) for request in requests]

    def _page(self, request: talk.LogRequest) -> talk.LogPage | None:
        if number_of(request.device) not in self._plan.members_of(number_of(request.conversation)):
            return None
        head = self._heads[request.conversation]
        after = max(request.from_seq, head + 1)
        return talk.LogPage(request.conversation, request.from_seq, after, head, start=1, upto=head, entries=())

    async def confirm(self, confirmations: Sequence[talk.Confirmation]) -> Sequence[talk.Confirmation]:
        """Let every position move."""
        await trio.lowlevel.checkpoint()
        return confirmations

    async def mark_read(self, marks: Sequence[tuple[ConversationId, ProfileId, int]]) -> Sequence[int]:
        """Let every mark move."""
        await trio.lowlevel.checkpoint()
        return range(len(marks))


class SteadyDevices:
    """Nobody is ever revoked."""

    async def revocations(self, since_ms: int) -> Sequence[people.Revocation]:  # noqa: ARG002 - there are none
        """Return nothing."""
        await trio.lowlevel.checkpoint()
        return ()


class SilentBus:
    """There is no other node."""

    async def publish(self, events: Sequence[Event]) -> None:  # noqa: ARG002 - nobody listens
        """Tell nobody."""
        await trio.lowlevel.checkpoint()

    @contextmanager
    def listen(self, receive: Callable[[Event], None], resync: Callable[[], None]) -> Iterator[None]:  # noqa: ARG002 - nothing will be heard
        """Listen to silence."""
        yield


def open_counting_stores(plan: Plan) -> Stores:
    """Return what a relay asks for; what only the API asks for is not there."""
    heads: Counter[ConversationId] = Counter()
    absent = cast("Any", None)
    return Stores(
        accounts=absent,
        sign_in=absent,
        sessions=absent,
        profiles=absent,
        devices=cast("Any", SteadyDevices()),
        prekeys=absent,
        conversations=cast("Any", PlannedConversations(plan, heads)),
        journal=cast("Any", CountingJournal(heads)),
        mailbox=EmptyMailbox(plan, heads),
        retention=absent,
        leases=absent,
        bus=SilentBus(),
    )


def _roster(conversation: ConversationId, members: range) -> talk.Roster:
    return talk.Roster(
        conversation=conversation,
        kind=ConversationKind.GROUP,
        version=VERSION,
        members={profile_of(each): _member(each) for each in members},
        devices={device_of(each): frozenset((profile_of(each),)) for each in members},
    )


def _member(member: int) -> talk.Member:
    return talk.Member(
        profile=profile_of(member),
        account=account_of(member),
        role=Role.MEMBER,
        from_seq=1,
        read_receipts=True,
        delivery_receipts=True,
        typing=True,
        presence=True,
    )
