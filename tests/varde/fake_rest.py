"""The API in memory, as one running client sees it: over the tables of `tests.varde.memory_relay`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import trio

from tests.cast import salt_of
from tests.ids import id_of
from tests.varde.endpoints import NOW, Account, Endpoint, SimulatedConversation
from varde.errors import Refusal, Unreachable
from varde_contract import frames as f
from varde_contract.device_list import decode_list, decode_signed_list
from varde_contract.ids import AccountId, ConversationId, MessageId, ProfileId
from varde_contract.membership import SNAPSHOT_EVERY, Membership, encode_state, replay
from varde_contract.membership_statements import ChainFault, parse_statement
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import (
    ClaimedKeys,
    DeviceLists,
    DeviceListView,
    LostDeviceLists,
    PrekeyClaim,
    PrekeyCount,
    PrekeyUpload,
    ProfileOpening,
)
from varde_contract.rest.talk import (
    STATEMENTS_PER_PAGE,
    ChainHead,
    ConversationView,
    LinkProof,
    MessageStored,
    NewMessage,
    NewStatements,
    Statements,
    StatementsStored,
    StatementView,
)

if TYPE_CHECKING:
    from tests.varde.memory_relay import MemoryRelay

_BEYOND = 1_000_000


class FakeRest:
    """The part of `varde.rest.Rest` that a running client uses, over the relay's tables."""

    def __init__(self, relay: "MemoryRelay", endpoint: Endpoint) -> None:
        self._relay = relay
        self._endpoint = endpoint
        self._device = endpoint.id

    async def open_conversation(self, new: NewStatements) -> ConversationView:
        """Begin a conversation."""
        await self._answer()
        talk = SimulatedConversation.begun_by(self._endpoint, new.statements)
        self._relay.talks[talk.conversation] = talk
        return talk.view

    async def conversations(self, after: ConversationId | None) -> NoReturn:  # noqa: ARG002 - see `Rest`
        """Raise Unreachable: a client goes on with what its store has."""
        raise Unreachable("lists are not kept here")

    async def requests(self) -> NoReturn:
        """See `conversations`."""
        raise Unreachable("lists are not kept here")

    async def append_statements(self, conversation: ConversationId, new: NewStatements) -> StatementsStored:
        """Put statements into the chain; what another one has got there first is refused."""
        await self._answer()
        talk = self._relay.talks[conversation]
        chain, accepted = talk.chain, talk.chain.now.accepted
        try:
            for signed in new.statements:
                chain.append(signed)
        except ChainFault as fault:
            raise Refusal.of(fault.refusal, str(fault)) from None
        talk.version += chain.now.accepted != accepted
        head = _BEYOND + len(chain.signed)
        return StatementsStored(tuple(range(head - len(new.statements), head)))

    async def put_back_statements(self, conversation: ConversationId, lost: NewStatements) -> StatementsStored:
        """Take back what was lost, where something was."""
        await self._answer()
        if not self._relay.takes_back:
            raise Refusal.of(RefusalCode.NOT_ALLOWED, "no")
        chain = self._relay.talks[conversation].chain
        numbers = [parse_statement(signed)[0].number for signed in lost.statements]
        missing = [signed for signed in lost.statements if signed not in chain.signed]
        if missing:
            await self.append_statements(conversation, NewStatements(tuple(missing)))
        return StatementsStored(tuple(_BEYOND + number for number in numbers))

    async def put_back_lists(self, account: AccountId, lost: LostDeviceLists) -> DeviceListView:
        """The same for device lists."""
        await self._answer()
        if not self._relay.takes_back:
            raise Refusal.of(RefusalCode.NOT_ALLOWED, "no")
        found = next(each for each in self._accounts() if each.person.account == account)
        for signed in lost.lists:
            if signed not in found.signed:
                found.lists.append(decode_list(decode_signed_list(signed).statement))
                found.signed.append(signed)
        return DeviceListView(len(found.signed), found.signed[-1])

    async def conversation(self, conversation: ConversationId) -> ConversationView:
        """The roster now."""
        await self._answer()
        self._relay.publish_lists()
        return self._relay.talks[conversation].view

    async def opening(self, profile: ProfileId) -> ProfileOpening:
        """Whose a profile of the tables is."""
        await self._answer()
        self._relay.asked_for.append(profile)
        account = next((each for each in self._accounts() if each.person.profile == profile), None)
        if account is None:
            raise Refusal.of(RefusalCode.NOT_FOUND, "no")
        return ProfileOpening(profile, account.person.account, salt_of(profile), len(account.lists))

    async def device_lists(self, account: AccountId, from_number: int, _: ProfileId | None = None) -> DeviceLists:
        """The lists of an account of the tables."""
        await self._answer()
        shown = next((each for each in self._accounts() if each.person.account == account), None)
        if shown is None:
            raise Refusal.of(RefusalCode.NOT_FOUND, "no")
        lists = enumerate(self._relay.lists(shown), start=1)
        return DeviceLists(tuple(DeviceListView(number, signed) for number, signed in lists if number >= from_number))

    async def own_lists(self, from_number: int) -> DeviceLists:
        """The lists of this account."""
        await self._answer()
        lists = enumerate(self._relay.lists(self._endpoint.account), start=1)
        return DeviceLists(tuple(DeviceListView(number, signed) for number, signed in lists if number >= from_number))

    def _accounts(self) -> list[Account]:
        everybody = [endpoint for talk in self._relay.talks.values() for endpoint in talk.everybody]
        return [endpoint.account for endpoint in (*everybody, *self._relay.strangers)]

    async def statements(self, conversation: ConversationId, first: int, holds: int | None = None) -> Statements:
        """The chain. Its statements are no messages of these tables, so their numbers are beyond those of messages."""
        await self._answer()
        signed = self._relay.talks[conversation].chain.signed
        last = len(signed) - 1 if holds is None else holds
        first = first or last - last % SNAPSHOT_EVERY
        states: list[bytes | None] = [None] * len(signed)
        state: Membership | None = None
        for number, each in enumerate(signed):
            if number % SNAPSHOT_EVERY == 0 and state is not None:
                states[number] = encode_state(state)
            state = replay(state, each)
        page = range(first, min(len(signed), first + STATEMENTS_PER_PAGE))
        return Statements(
            tuple(StatementView(number, _BEYOND + number, signed[number], states[number]) for number in page)
        )

    async def link_head(self, conversation: ConversationId, _: LinkProof) -> ChainHead:
        """Where the chain is."""
        await self._answer()
        now = self._relay.talks[conversation].chain.now
        return ChainHead(now.number, now.head)

    async def claim_prekeys(self, claim: PrekeyClaim) -> ClaimedKeys:
        """Prekeys of the table's parties."""
        await self._answer()
        self._relay.claims.append(claim)
        return self._relay.talks[claim.conversation].claim(claim.devices)

    async def send(self, new: NewMessage) -> MessageStored:
        """The send without a socket."""
        await self._answer()
        self._relay.by_rest.append(new)
        frame = f.Send(new.client_id, new.conversation, new.profile, new.roster_version, new.group, new.devices)
        refused = self._relay.store(self._device, frame, part=new.part, by_rest=True)
        if refused is not None:
            raise Refusal.of(refused.code, refused.detail, stale=refused.stale)
        stored = next(each for each in self._relay.log[new.conversation] if each.frame.client_id == new.client_id)
        sent_at = datetime.fromtimestamp(NOW / 1_000, UTC)
        place = MessageId(id_of(stored.seq)), stored.seq, sent_at
        return MessageStored(new.client_id, new.conversation, *place, self._relay.epochs[0][0])

    async def prekeys(self) -> PrekeyCount:
        """Enough."""
        return PrekeyCount(50, has_fallback=True)

    async def upload_prekeys(self, upload: PrekeyUpload) -> PrekeyCount:
        """Taken and forgotten."""
        return PrekeyCount(len(upload.one_time_keys), has_fallback=True)

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._relay.rest_error is not None:
            raise self._relay.rest_error
