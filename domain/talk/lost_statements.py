"""Statements that the store has lost, put back by whoever holds them: a restored backup knows less than its clients.

Clients refuse a chain that is shorter than the one they know, and rightly so. What they hold is signed, and each
statement names the one before: so anybody who is in the conversation may put back what follows the head, for all. Each
is judged at its place by the rules that it was judged by the first time, but for one: it may not name the newest device
list any more. That is why nothing is put back but after a loss, and nothing that names an older list than those which
the store had kept: the key of a device that was revoked before the loss signs nothing by this way.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from domain.people.model import Actor, Device
from domain.people.ports import DeviceStore, ProfileStore
from domain.ports import Bus, Clock, Entropy
from domain.talk.chains import chain_change, is_in, judge, new_roster, new_statement
from domain.talk.events import MembershipChanged, MessagesCommitted
from domain.talk.model import Extended, NewStatement
from domain.talk.ports import ConversationStore, EpochStore
from varde_contract import membership as chain
from varde_contract import membership_statements as s
from varde_contract.device_list import DeviceList, decode_list, decode_signed_list
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.limits import SECOND_MS
from varde_contract.refusals import RefusalCode, Refused

WINDOW_MS: Final = 30 * 24 * 3_600 * SECOND_MS
"""For so long after a loss: as long as ciphertext waits for a device that is off."""
_TIME_SHIFT: Final = 80  # a UUIDv7 begins with 48 bits of milliseconds: when the epoch began

_NOTHING_LOST: Final = Refused(RefusalCode.NOT_ALLOWED, "Nothing can be put back here: this server has lost nothing.")
_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "This device belongs to no such conversation.")
_NO_LIST: Final = Refused(
    RefusalCode.NOT_FOUND, "A profile or device list that a statement names is not known here. Put it back first."
)
_FORKED: Final = Refused(RefusalCode.STALE_CHAIN, "The conversation has gone on by another statement.")

_OVERTAKEN: Final = Refused(RefusalCode.STALE_CHAIN, "Others are putting statements back here at once. Try again.")
TRIES: Final = 3
"""All members come back in the same moment, and put back the same: who is slower finds it there at the next try."""


class LostStatements:
    """The statements of all conversations that the store has lost."""

    def __init__(
        self,
        store: ConversationStore,
        profiles: ProfileStore,
        devices: DeviceStore,
        epochs: EpochStore,
        bus: Bus,
        *,
        node: str,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`node` is a name no relay has: every relay must take the statements to its listeners."""
        self._store = store
        self._profiles = profiles
        self._devices = devices
        self._epochs = epochs
        self._bus = bus
        self._node = node
        self._clock = clock
        self._entropy = entropy

    def since(self) -> int | Refused:
        """Return when the loss was noticed after which things may be put back. Refuses `not-allowed`."""
        present, *earlier = self._epochs.known
        since_ms = present.int >> _TIME_SHIFT
        return since_ms if earlier and self._clock() - since_ms < WINDOW_MS else _NOTHING_LOST

    async def put_back(self, actor: Actor, conversation: ConversationId, signed: Sequence[bytes]) -> Extended | Refused:
        """Store statements that follow the head, under the numbers they name; return all their numbers in the log.

        Those that are there already are passed over.

        A conversation that is lost begins again with its creation. Nobody is asked for consent, because it was given.
        Who is in the conversation before them or after them may do it. Refuses `no-device`, `not-allowed` where nothing
        was lost, `not-found`, `stale-chain`, and what the rules of membership do.
        """
        device = None if actor.device is None else await self._devices.find(actor.account, actor.device)
        if device is None:
            return _NO_DEVICE
        since = self.since()
        if isinstance(since, Refused):
            return since
        for left in range(TRIES - 1, -1, -1):
            encoded = await self._store.membership(conversation)
            before = None if encoded is None else chain.decode_state(encoded)
            outcome = await self._follow(device, conversation, before, signed, since)
            if left and outcome is _OVERTAKEN:
                continue
            if isinstance(outcome, Refused) and (before is None or not is_in(device, before)):
                # Whatever it is: to an outsider, a conversation that is there is as one that is not.
                return _UNKNOWN
            return outcome
        raise AssertionError("there is at least one try")

    async def _follow(
        self,
        device: Device,
        conversation: ConversationId,
        before: chain.Membership | None,
        signed: Sequence[bytes],
        since_ms: int,
    ) -> Extended | Refused:
        stored = await self._stored(conversation, signed)
        if isinstance(stored, Refused):
            return stored
        missing = signed[len(stored) :]
        if not missing:
            return Extended(stored, 0, moved=False) if before is not None and is_in(device, before) else _UNKNOWN
        # What was stated since the loss follows the shorter chain: both cannot be the conversation's.
        if await self._store.has_gone_on(conversation):
            return _FORKED
        keys = await self._keys(missing, since_ms)
        judged = keys if isinstance(keys, Refused) else judge(before, missing, keys, self._new_statement)
        if isinstance(judged, Refused):
            return judged
        after, statements = judged
        here = is_in(device, after) or (before is not None and is_in(device, before))
        if after.conversation != conversation or not here:
            return _UNKNOWN
        if not await self._know(after):
            return _NO_LIST
        put = await self._put(before, after, _brought_by(device, after, statements), since_ms)
        return put if isinstance(put, Refused) else replace(put, seqs=stored + put.seqs)

    async def _stored(self, conversation: ConversationId, signed: Sequence[bytes]) -> tuple[int, ...] | Refused:
        """Return the numbers in the log of the first of these statements, as far as they are there."""
        try:
            first = s.parse_statement(signed[0])[0].number
        except s.ChainFault as fault:
            return Refused(RefusalCode.BAD_SIGNATURE, f"The statement was refused: {fault}.")
        stored = await self._store.statements(conversation, first, len(signed))
        same = [each.signed for each in stored] == list(signed[: len(stored)])
        return tuple(each.seq for each in stored) if same else _FORKED

    async def _put(
        self,
        before: chain.Membership | None,
        after: chain.Membership,
        statements: Sequence[NewStatement],
        since_ms: int,
    ) -> Extended | Refused:
        if before is not None:
            extended = await self._store.extend(chain_change(before, after, statements))
        else:
            # Its roster had versions before, and clients take none twice. A time in milliseconds is higher than any
            # count of changes.
            new = replace(new_roster(after, statements, self._clock()), version=since_ms)
            _, made = await self._store.open(new)
            seqs = tuple(range(1, len(statements) + 1))
            extended = Extended(seqs, since_ms, moved=True) if made else None
        if extended is None:
            return _OVERTAKEN
        moved = [MembershipChanged(after.conversation, extended.roster_version)] if extended.moved else []
        committed = MessagesCommitted(self._node, after.conversation, extended.seqs[-1])
        await self._bus.publish([*moved, committed])
        return extended

    async def _know(self, state: chain.Membership) -> bool:
        owners = await self._profiles.owners(list(state.members))
        return all(each in owners and owners[each].id == member.account for each, member in state.members.items())

    async def _keys(self, signed: Sequence[bytes], since_ms: int) -> chain.SignerKey | Refused:
        """Return the keys of those who signed, out of the lists that they name."""
        lists: dict[tuple[AccountId, int], DeviceList] = {}
        salts: dict[tuple[AccountId, ProfileId], bytes] = {}
        kept: dict[AccountId, int] = {}
        for each in signed:
            try:
                statement, _ = s.parse_statement(each)
            except s.ChainFault as fault:
                return Refused(RefusalCode.BAD_SIGNATURE, f"The statement was refused: {fault}.")
            account, named = statement.account, (statement.account, statement.list_number)
            if named not in lists:
                found = await self._devices.lists(account, statement.list_number, 1)
                profile = await self._profiles.find(account, statement.profile)
                if profile is None or not found or found[0].number != statement.list_number:
                    return _NO_LIST
                lists[named] = decode_list(decode_signed_list(found[0].signed).statement)
                salts[account, statement.profile] = profile.salt
                kept[account] = await self._devices.kept_list(account, since_ms)
            if (account, statement.profile) not in salts:
                profile = await self._profiles.find(account, statement.profile)
                if profile is None:
                    return _NO_LIST
                salts[account, statement.profile] = profile.salt

        def key(statement: s.Statement) -> bytes:
            if statement.list_number < kept[statement.account]:
                raise s.ChainFault(RefusalCode.STALE_CHAIN, "it names an older device list than was kept")
            devices = lists[statement.account, statement.list_number]
            return chain.listed_key(statement, devices, salts[statement.account, statement.profile])

        return key

    def _new_statement(self, before: chain.Membership | None, after: chain.Membership, signed: bytes) -> NewStatement:
        return new_statement(before, after, signed, self._clock(), self._entropy)


def _brought_by(device: Device, state: chain.Membership, statements: Sequence[NewStatement]) -> list[NewStatement]:
    """Let them be the bringer's messages in the log.

    A device is not sent what it sent itself. Were they the signer's, its client would miss numbers that it never was
    given.
    """
    profile = next((each for each in device.profiles if each in state.members), device.profiles[0])
    return [replace(each, profile=profile, device=device.id, put_back=True) for each in statements]
