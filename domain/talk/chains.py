"""Membership: statements that devices sign, judged at their place in a conversation's chain, and stored for ever.

The rules themselves are in `varde_contract.membership`, where clients have them too. Here a statement is also held to
who is asking, and to which profiles there are.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from domain.people.model import Account, Actor, Device
from domain.people.ports import DeviceStore, ProfileStore
from domain.ports import Bus, Clock, Entropy
from domain.talk.consent import NO_PROFILE, Consent
from domain.talk.events import Invited, MembershipChanged, MessagesCommitted
from domain.talk.model import ChainHead, Extended, Invitation, NewStatement, StoredStatement
from domain.talk.ports import ChainChange, ConversationStore, NewRoster
from varde_contract import membership as chain
from varde_contract import membership_statements as s
from varde_contract.ids import ENTROPY_BYTES, AccountId, ClientId, ConversationId, MessageId, ProfileId, uuid7
from varde_contract.limits import REQUESTS_OF_STRANGERS
from varde_contract.public_keys import is_signed
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import STATEMENTS_PER_PAGE
from varde_contract.talk import ConversationKind

_NO_DEVICE: Final = Refused(RefusalCode.NO_DEVICE, "This session has no device. Register one first.")
_UNKNOWN: Final = Refused(RefusalCode.NOT_FOUND, "This device belongs to no such conversation.")
_NO_LINK: Final = Refused(RefusalCode.NOT_FOUND, "There is no such link any more.")
_TAKEN: Final = Refused(RefusalCode.STALE_CHAIN, "The conversation has this statement's number already. Read on.")
_NOT_CREATED: Final = Refused(RefusalCode.MALFORMED, "Begin with a creation. A dm invites one other, a self nobody.")

Judged: TypeAlias = tuple[chain.Membership, list[NewStatement]]
MakesStatement: TypeAlias = Callable[[chain.Membership | None, chain.Membership, bytes], NewStatement | Refused]
"""Makes what is stored of a statement, from the membership before it, the one after it, and its bytes."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A conversation; without `made` it had been there before."""

    conversation: ConversationId
    made: bool


class Chains:
    """The chains of all conversations."""

    def __init__(
        self,
        store: ConversationStore,
        profiles: ProfileStore,
        devices: DeviceStore,
        consent: Consent,
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
        self._consent = consent
        self._bus = bus
        self._node = node
        self._clock = clock
        self._entropy = entropy

    async def open(self, actor: Actor, signed: Sequence[bytes]) -> Opened | Refused:
        """Begin a conversation with its creation and invitations; the same dm or self again is the one that is there.

        The accounts of all invited have device lists, because without one nobody could check their devices; there need
        not be a device in it. Refuses `no-device`, `malformed`, and what `Consent.judge` and the membership rules do.
        """
        device = await self._device(actor)
        if device is None:
            return _NO_DEVICE
        judged = judge(None, signed, _keys_of(device, await self._list_number(actor)), self._new_statement)
        if isinstance(judged, Refused):
            return judged
        state, statements = judged
        if not has_its_shape(state):
            return _NOT_CREATED
        if await self._store.membership(state.conversation) is not None:
            # Its id is the creator's to choose: an answer that was lost is asked for again, and nobody else guesses it.
            same = await self._stored_before(state.conversation, statements)
            return Opened(state.conversation, made=False) if same else _TAKEN
        new = new_roster(state, statements, self._clock())
        known = None if new.pair is None else await self._store.pair(new.pair)
        if known is not None:
            return Opened(known, made=False)  # nobody is asked again, so nobody has to allow it
        told = await self._judge_invited(actor.account, None, state)
        if isinstance(told, Refused):
            return told
        conversation, made = await self._store.open(new)
        if made:
            await self._bus.publish([MembershipChanged(conversation, 1), *await self._invited(state, told)])
        return Opened(conversation, made)

    async def extend(self, actor: Actor, conversation: ConversationId, signed: Sequence[bytes]) -> Extended | Refused:
        """Append statements. The first for a number wins; the same again are answered as they were the first time.

        Refuses `no-device`, `not-found`, `stale-chain`, and what `Consent.judge` and the rules of membership do.
        """
        device = await self._device(actor)
        if device is None:
            return _NO_DEVICE
        before = await self._membership(conversation)
        if before is None or not (is_in(device, before) or self._comes_by_link(before, signed)):
            return _UNKNOWN
        judged = judge(before, signed, _keys_of(device, await self._list_number(actor)), self._new_statement)
        if isinstance(judged, Refused):
            # The same again is refused, because its number is taken. Looked up only then: a statement that is new costs
            # no read more.
            stored = await self._stored_before(conversation, signed)
            return Extended(tuple(each.seq for each in stored), 0, moved=False) if stored else judged
        after, statements = judged
        told = await self._judge_invited(actor.account, before, after)
        if isinstance(told, Refused):
            return told
        extended = await self._store.extend(chain_change(before, after, statements))
        if extended is None:
            return _TAKEN
        moved = [MembershipChanged(conversation, extended.roster_version)] if extended.moved else []
        committed = MessagesCommitted(self._node, conversation, extended.seqs[-1])
        await self._bus.publish([*moved, committed, *await self._invited(after, told)])
        return extended

    async def link_head(
        self, actor: Actor, conversation: ConversationId, profile: ProfileId, via: s.Via
    ) -> ChainHead | Refused:
        """Return what an acceptance must follow, to who holds the private half of a link's key; and nothing else.

        Refuses `no-device` and `not-found`.
        """
        device = await self._device(actor)
        if device is None:
            return _NO_DEVICE
        state = await self._membership(conversation)
        if state is None or profile not in device.profiles or not self._opens(state, profile, via):
            return _UNKNOWN
        return ChainHead(state.number, state.head)

    def _comes_by_link(self, state: chain.Membership, signed: Sequence[bytes]) -> bool:
        try:
            statement, _ = s.parse_statement(signed[0])
        # What is no statement lets nobody in, and to who is not in the conversation it is not there.
        except s.ChainFault:
            return False
        via = statement.via if isinstance(statement, s.Accept) else None
        return via is not None and self._opens(state, statement.profile, via)

    def _opens(self, state: chain.Membership, profile: ProfileId, via: s.Via) -> bool:
        """Whether a link lets a profile in now. Clients judge its time by the acceptance's own, which is a claim."""
        link = state.links.get(via.key)
        if link is None or self._clock() > link.expires_ms:
            return False
        return is_signed(s.link_statement(state.conversation, profile), via.signature, via.key)

    async def page(
        self, actor: Actor, conversation: ConversationId, first: int, holds: int | None = None
    ) -> Sequence[StoredStatement] | Refused:
        """Return the statements from number `first` on, to members and to who is invited.

        From 0 on they begin with the last snapshot, or the last not behind statement `holds`, if there is one: with its
        state nothing before it is needed. Refuses `no-device` and `not-found`.
        """
        device = await self._device(actor)
        if device is None:
            return _NO_DEVICE
        state = await self._state(device, conversation)
        if state is None:
            return _UNKNOWN
        last = state.number if holds is None else min(holds, state.number)
        start = first or last - last % chain.SNAPSHOT_EVERY
        return await self._store.statements(conversation, start, STATEMENTS_PER_PAGE)

    async def invitations(self, actor: Actor) -> Sequence[Invitation] | Refused:
        """Return what the profiles of the actor's device are invited to. Refuses `no-device`."""
        if actor.device is None:
            return _NO_DEVICE
        return await self._store.invitations(actor.device, REQUESTS_OF_STRANGERS)

    async def _device(self, actor: Actor) -> Device | None:
        return None if actor.device is None else await self._devices.find(actor.account, actor.device)

    async def _state(self, device: Device, conversation: ConversationId) -> chain.Membership | None:
        """Return the membership, if a profile of the device is a member or invited.

        To all others it is as if there were none: the difference would tell an outsider something.
        """
        state = await self._membership(conversation)
        return state if state is not None and is_in(device, state) else None

    async def _membership(self, conversation: ConversationId) -> chain.Membership | None:
        encoded = await self._store.membership(conversation)
        return None if encoded is None else chain.decode_state(encoded)

    async def _list_number(self, actor: Actor) -> int:
        newest = await self._devices.newest_list(actor.account)
        return 0 if newest is None else newest.number

    def _new_statement(
        self, before: chain.Membership | None, after: chain.Membership, signed: bytes
    ) -> NewStatement | Refused:
        statement, _ = s.parse_statement(signed)
        via = statement.via if isinstance(statement, s.Accept) else None
        if before is not None and via is not None and not self._opens(before, statement.profile, via):
            return _NO_LINK
        return new_statement(before, after, signed, self._clock(), self._entropy)

    async def _stored_before(
        self, conversation: ConversationId, signed: Sequence[bytes] | Sequence[NewStatement]
    ) -> Sequence[StoredStatement]:
        """Return these very statements as they are stored, or none of them."""
        wanted = [each.signed if isinstance(each, NewStatement) else each for each in signed]
        try:
            first = s.parse_statement(wanted[0])[0].number
        except s.ChainFault:
            return ()
        stored = await self._store.statements(conversation, first, len(wanted))
        return stored if [each.signed for each in stored] == wanted else ()

    async def _judge_invited(
        self, account: AccountId, before: chain.Membership | None, after: chain.Membership
    ) -> Collection[ProfileId] | Refused:
        """Return which of the newly invited are told so."""
        known = {} if before is None else before.members
        invited = {
            profile: member
            for profile, member in after.members.items()
            if not member.accepted and known.get(profile) != member
        }
        owners = await self._profiles.owners(list(invited)) if invited else {}
        for profile, member in invited.items():
            owner = owners.get(profile)
            if owner is None or not is_reachable(owner) or owner.id != member.account:
                return NO_PROFILE
        return await self._consent.judge(account, invited)

    async def _invited(self, state: chain.Membership, told: Collection[ProfileId]) -> list[Invited]:
        return [
            Invited(device.id)
            for profile in told
            for device in await self._devices.list_all(state.members[profile].account)
            if profile in device.profiles
        ]


def judge(
    state: chain.Membership | None, signed: Sequence[bytes], keys: chain.SignerKey, make: MakesStatement
) -> Judged | Refused:
    """Return the membership after some statements, and what is stored of each. Refuses what the rules do."""
    statements: list[NewStatement] = []
    try:
        for each in signed:
            before, state = state, chain.apply(state, each, keys)
            made = make(before, state, each)
            if isinstance(made, Refused):
                return made
            statements.append(made)
    except s.ChainFault as fault:
        # To HTTP the body is well-formed: it is bytes. What does not read as a statement was signed by nobody.
        code = RefusalCode.BAD_SIGNATURE if fault.refusal is RefusalCode.MALFORMED else fault.refusal
        return Refused(code, f"The statement was refused: {fault}.")
    return _NOT_CREATED if state is None else (state, statements)


def new_statement(
    before: chain.Membership | None, after: chain.Membership, signed: bytes, now_ms: int, entropy: Entropy
) -> NewStatement:
    """Return what is stored of a statement that was judged, as its signer brings it."""
    statement, _ = s.parse_statement(signed)
    return NewStatement(
        signed=signed,
        number=after.number,
        hash=after.head,
        state=chain.encode_state(before) if before is not None and isinstance(statement, s.Snapshot) else None,
        account=statement.account,
        signer=statement.profile,
        invited=statement.invited if isinstance(statement, s.Invite) else None,
        profile=statement.profile,
        device=statement.device,
        message=MessageId(uuid7(now_ms, entropy(ENTROPY_BYTES))),
        client_id=ClientId(uuid7(now_ms, entropy(ENTROPY_BYTES))),
        sent_ms=now_ms,
    )


def chain_change(before: chain.Membership, after: chain.Membership, statements: Sequence[NewStatement]) -> ChainChange:
    """Return what statements that follow change."""
    is_over = after.kind is ConversationKind.DM and len(after.members) < len(before.members)
    ids = sorted(before.members)
    return ChainChange(
        conversation=after.conversation,
        after=before.number,
        members=after.members,
        statements=statements,
        state=chain.encode_state(after),
        joining=frozenset(member.account for each, member in after.accepted.items() if each not in before.accepted),
        freed=(ids[0], ids[-1]) if is_over else None,
    )


def new_roster(state: chain.Membership, statements: Sequence[NewStatement], now_ms: int) -> NewRoster:
    """Return the conversation that a chain begins."""
    ids = sorted(state.members)
    return NewRoster(
        conversation=state.conversation,
        kind=state.kind,
        members=state.members,
        # A dm that is over already leaves its two free to begin another one.
        pair=(ids[0], ids[-1]) if state.kind is not ConversationKind.GROUP and has_its_shape(state) else None,
        created_ms=now_ms,
        statements=statements,
        state=chain.encode_state(state),
    )


def is_in(device: Device, state: chain.Membership) -> bool:
    """Whether a profile of the device is a member or invited."""
    members = (state.members.get(profile) for profile in device.profiles)
    return any(member is not None and member.account == device.account for member in members)


def is_reachable(owner: Account | None) -> bool:
    """Whether a profile's owner can be a member: its devices can be checked, be they registered only later."""
    return owner is not None and owner.list_number > 0


def _keys_of(device: Device, list_number: int) -> chain.SignerKey:
    """Only the asking device signs, as a profile it receives for, with the newest list of its account."""

    def key(statement: s.Statement) -> bytes:
        if (statement.account, statement.device) != (device.account, device.id):
            raise s.ChainFault(RefusalCode.NOT_ALLOWED, "it is not of this session's device")
        if statement.profile not in device.profiles:
            raise s.ChainFault(RefusalCode.PROFILE_NOT_ALLOWED, "the device does not receive for that profile")
        if statement.list_number != list_number:
            raise s.ChainFault(RefusalCode.STALE_CHAIN, "it does not name the newest device list")
        return device.signing_key

    return key


def has_its_shape(state: chain.Membership) -> bool:
    """Whether a conversation of this kind begins with so many members."""
    match state.kind:
        case ConversationKind.DM:
            return len(state.members) == 2  # noqa: PLR2004 - a dm is of two
        case ConversationKind.SELF:
            return len(state.members) == 1
        case ConversationKind.GROUP:
            return True
