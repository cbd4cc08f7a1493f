"""Who is in a conversation: what a chain of membership statements comes to. Server and client run these same rules.

Pure: no clock, no network, no store. The one thing asked from outside is the key of a signer (`SignerKey`).
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from varde_contract.codec import NOT_WELL_FORMED
from varde_contract.device_list import DeviceList, commitment
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId, decode_binary_id
from varde_contract.limits import MEMBERS_PER_CONVERSATION
from varde_contract.membership_statements import (
    Accept,
    ChainFault,
    ChangeRole,
    Create,
    Decline,
    Digest,
    Invite,
    InviteLink,
    Leave,
    Policy,
    Remove,
    Snapshot,
    Statement,
    UnknownStatement,
    digest_of,
    link_statement,
    parse_statement,
    statement_bytes,
)
from varde_contract.public_keys import is_signed
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind, Role

SNAPSHOT_EVERY: Final = 256
"""A statement whose number is a multiple of it is a snapshot, and no other is: newcomers replay no more than that."""
LINKS_PER_CONVERSATION: Final = 16
POLICIES: Final[Mapping[str, frozenset[str]]] = {"invite": frozenset({"admins", "members"})}
"""Every policy a client knows, with its values. One that it does not know may ask for what it does not do."""

_STATE: Final = b"varde.v2 membership state\x00"


class Member(Struct, frozen=True, array_like=True):
    """A profile in a conversation; without `accepted` only invited, which gives no right to anything said."""

    account: AccountId
    role: Role
    accepted: bool


class Link(Struct, frozen=True, array_like=True):
    """What is left of an invitation by link."""

    expires_ms: int
    uses: int
    role: Role


class Membership(Struct, frozen=True, array_like=True):
    """What a chain says after its statement `number`, whose hash is `head`. The mappings are in the order of keys."""

    conversation: ConversationId
    kind: ConversationKind
    number: int
    head: Digest
    members: dict[ProfileId, Member]
    lists: dict[AccountId, int]
    """The highest device list number that each account has signed with here: it never uses an older one again."""
    links: dict[bytes, Link]
    policies: dict[str, str]

    @property
    def accepted(self) -> dict[ProfileId, Member]:
        """The members that things are encrypted for."""
        return {profile: member for profile, member in self.members.items() if member.accepted}

    @property
    def digest_of_state(self) -> bytes:
        """What a snapshot that follows signs."""
        return hashlib.sha256(_STATE + encode_state(self)).digest()


SignerKey: TypeAlias = Callable[[Statement], bytes]
"""Return the Ed25519 key of the device that a statement names, out of the device list it names, where that list lets
the device speak for the profile. Raises PeerFault where it does not. A later list undoes nothing."""


def listed_key(statement: Statement, devices: DeviceList, salt: bytes) -> bytes:
    """Return the key that a statement must be signed with, by the device list that it names and its profile's salt.

    Raises ChainFault where that list does not let the device speak for the profile.
    """
    listed = devices.find(statement.device)
    if devices.account != statement.account or listed is None or not listed.is_valid(statement.issued_ms):
        raise ChainFault(RefusalCode.BAD_SIGNATURE, "the device is not in the list that the statement names")
    if commitment(statement.profile, salt) not in listed.profiles:
        raise ChainFault(RefusalCode.BAD_SIGNATURE, "the device does not receive for the profile it signs as")
    return listed.signing_key


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_state = msgspec.msgpack.Decoder(Membership, dec_hook=decode_binary_id)


class Signer(NamedTuple):
    """Who signs: as which profile, with which device, in which of the account's device lists."""

    account: AccountId
    profile: ProfileId
    device: DeviceId
    list_number: int


class Head(NamedTuple):
    """The fields that every statement begins with, in their order: `Leave(*head)`."""

    conversation: ConversationId
    number: int
    previous: bytes | None
    account: AccountId
    profile: ProfileId
    device: DeviceId
    list_number: int
    issued_ms: int


def first_head(conversation: ConversationId, signer: Signer, issued_ms: int) -> Head:
    """Return the head of a creation."""
    return Head(conversation, 0, None, *signer, issued_ms)


def next_head(state: Membership, signer: Signer, issued_ms: int) -> Head:
    """Return the head of the statement that follows `state`: of a snapshot where `snapshot_is_due`."""
    return Head(state.conversation, state.number + 1, state.head, *signer, issued_ms)


def snapshot_is_due(state: Membership) -> bool:
    """Whether nothing but a snapshot may follow."""
    return (state.number + 1) % SNAPSHOT_EVERY == 0


def encode_state(state: Membership) -> bytes:
    """Return the bytes of a membership as a snapshot hashes them."""
    return _encoder.encode(state)


def decode_state(encoded: bytes) -> Membership:
    """Read what `encode_state` wrote. Raises PeerFault. It is worth what the snapshot applied to it says."""
    try:
        return _state.decode(encoded)
    except NOT_WELL_FORMED:
        raise PeerFault("the membership is not well-formed") from None


def apply(state: Membership | None, signed: bytes, keys: SignerKey) -> Membership:
    """Judge the statement that follows `state`, or begins a chain, and return what holds after it.

    Raises ChainFault, of which UnknownStatement is one, and what `keys` raises.
    """
    statement, parts = parse_statement(signed)
    _check_place(state, statement)
    _check_signature(keys(statement), statement_bytes(parts.statement), parts.signature)
    return _judge(state, statement, digest_of(signed))


def replay(state: Membership | None, signed: bytes) -> Membership:
    """The same without the signature: for statements whose hash a later one has that was verified."""
    statement, _ = parse_statement(signed)
    _check_place(state, statement)
    return _judge(state, statement, digest_of(signed))


def _check_signature(key: bytes, signed: bytes, signature: bytes) -> None:
    if not is_signed(signed, signature, key):
        raise ChainFault(RefusalCode.BAD_SIGNATURE, "the signature of the statement does not match its key")


def _check_place(state: Membership | None, statement: Statement) -> None:
    if (state is None) != isinstance(statement, Create):
        raise ChainFault(RefusalCode.STALE_CHAIN, "a chain begins with its creation, and has no other")
    if state is None:
        if statement.number != 0 or statement.previous is not None:
            raise ChainFault(RefusalCode.STALE_CHAIN, "a creation is number 0 and follows nothing")
        return
    if statement.conversation != state.conversation:
        raise ChainFault(RefusalCode.STALE_CHAIN, "the statement is of another conversation")
    if statement.number != state.number + 1 or statement.previous != state.head:
        raise ChainFault(RefusalCode.STALE_CHAIN, "the statement does not follow the last one")
    # Otherwise the key of a device that was revoked since would go on signing, by naming the list of before.
    if statement.list_number < state.lists.get(statement.account, 0):
        raise ChainFault(RefusalCode.STALE_CHAIN, "the account has signed with a later device list before")
    if snapshot_is_due(state) != isinstance(statement, Snapshot):
        raise ChainFault(RefusalCode.STALE_CHAIN, f"every {SNAPSHOT_EVERY}th statement is a snapshot, and no other")


def _judge(state: Membership | None, statement: Statement, head: bytes) -> Membership:
    if state is None:
        assert isinstance(statement, Create), "the place was checked"
        after = _create(statement, head)
    else:
        after = _change(state, statement)
    lists = {**after.lists, statement.account: statement.list_number}
    return replace(
        after,
        number=statement.number,
        head=head,
        # In the order of keys: a snapshot signs the hash of the encoding, and everybody must come to the same bytes.
        members=dict(sorted(after.members.items())),
        lists=dict(sorted(lists.items())),
        links=dict(sorted(after.links.items())),
        policies=dict(sorted(after.policies.items())),
    )


def _create(statement: Create, head: bytes) -> Membership:
    # In a dm nobody rules.
    role = Role.MEMBER if statement.kind is ConversationKind.DM else Role.OWNER
    creator = Member(statement.account, role, accepted=True)
    return Membership(
        statement.conversation, statement.kind, 0, head, {statement.profile: creator}, {}, links={}, policies={}
    )


def _change(state: Membership, statement: Statement) -> Membership:  # noqa: C901 - one row for each kind
    match statement:
        case Invite():
            return _invite(state, statement)
        case InviteLink():
            return _invite_link(state, statement)
        case Accept(via=None):
            invited = _signer(state, statement, accepted=False)
            return _seat(state, statement.profile, replace(invited, accepted=True))
        case Accept():
            return _accept_link(state, statement)
        case Decline():
            _signer(state, statement, accepted=False)
            return _without(state, statement.profile)
        case Remove():
            return _remove(state, statement)
        case ChangeRole():
            return _change_role(state, statement)
        case Leave():
            return _leave(state, statement)
        case Policy():
            return _set_policy(state, statement)
        case Snapshot():
            if statement.profile not in state.members or statement.state != state.digest_of_state:
                raise ChainFault(RefusalCode.STALE_CHAIN, "the snapshot is not of the membership before it")
            return state
        case _:  # also guest, channel and space: their bytes are settled, and nothing enforces them yet
            raise UnknownStatement


def _signer(state: Membership, statement: Statement, *, accepted: bool = True) -> Member:
    member = state.members.get(statement.profile)
    if member is None or member.account != statement.account:
        raise ChainFault(RefusalCode.NOT_ALLOWED, "the signer is no member")
    if member.accepted is not accepted:
        if accepted:
            raise ChainFault(RefusalCode.NOT_ALLOWED, "the signer has not accepted the invitation")
        raise ChainFault(RefusalCode.ALREADY_MEMBER, "the profile is a member already")
    return member


def _group_signer(state: Membership, statement: Statement) -> Member:
    if state.kind is not ConversationKind.GROUP:
        raise ChainFault(RefusalCode.WRONG_KIND, "only a group changes its members")
    return _signer(state, statement)


def _may_invite(state: Membership, signer: Member, role: Role) -> bool:
    if signer.role is Role.OWNER:
        return True
    # Who could make owners would be one.
    may = signer.role is Role.ADMIN or state.policies.get("invite") == "members"
    return may and role is Role.MEMBER


def _invite(state: Membership, statement: Invite) -> Membership:
    if state.kind is ConversationKind.DM:
        _signer(state, statement)
        # For ever the two of the beginning: whoever declined or left is not followed by somebody else.
        if statement.number != 1 or statement.role is not Role.MEMBER:
            raise ChainFault(RefusalCode.WRONG_KIND, "a dm has the two of its beginning, without roles")
    elif not _may_invite(state, _group_signer(state, statement), statement.role):
        raise ChainFault(RefusalCode.NOT_ALLOWED, "the signer's role does not allow this invitation")
    if statement.invited in state.members:
        raise ChainFault(RefusalCode.ALREADY_MEMBER, "the profile is a member already, or invited")
    return _seat(state, statement.invited, Member(statement.invited_account, statement.role, accepted=False))


def _invite_link(state: Membership, statement: InviteLink) -> Membership:
    if not _may_invite(state, _group_signer(state, statement), statement.role):
        raise ChainFault(RefusalCode.NOT_ALLOWED, "the signer's role does not allow this invitation")
    links = {key: link for key, link in state.links.items() if key != statement.key}
    if statement.uses:
        links[statement.key] = Link(statement.expires_ms, statement.uses, statement.role)
    if len(links) > LINKS_PER_CONVERSATION:
        raise ChainFault(RefusalCode.TOO_MANY, f"a conversation has at most {LINKS_PER_CONVERSATION} links")
    return replace(state, links=links)


def _accept_link(state: Membership, statement: Accept) -> Membership:
    assert statement.via is not None
    key = statement.via.key
    link = state.links.get(key)
    if link is None or statement.issued_ms > link.expires_ms:
        raise ChainFault(RefusalCode.NOT_FOUND, "there is no such link any more")
    # For this profile and conversation: what one person has shown lets nobody else in.
    _check_signature(key, link_statement(state.conversation, statement.profile), statement.via.signature)
    before = state.members.get(statement.profile)
    if before is not None and (before.accepted or before.account != statement.account):
        raise ChainFault(RefusalCode.ALREADY_MEMBER, "the profile is a member already")
    links = {**state.links, key: replace(link, uses=link.uses - 1)}
    links = {each: left for each, left in links.items() if left.uses}
    # An invitation that names the person says more about the role than a link for everybody.
    role = link.role if before is None else before.role
    return _seat(replace(state, links=links), statement.profile, Member(statement.account, role, accepted=True))


def _remove(state: Membership, statement: Remove) -> Membership:
    signer = _group_signer(state, statement)
    target = state.members.get(statement.removed)
    if statement.removed == statement.profile or signer.role is Role.MEMBER:
        raise ChainFault(RefusalCode.NOT_ALLOWED, "the signer's role does not allow to remove that member")
    if target is None:
        raise ChainFault(RefusalCode.NOT_FOUND, "there is no such member")
    if signer.role is Role.ADMIN and target.role is not Role.MEMBER:
        raise ChainFault(RefusalCode.NOT_ALLOWED, "admins remove members only")
    return _without(state, statement.removed)


def _change_role(state: Membership, statement: ChangeRole) -> Membership:
    if _group_signer(state, statement).role is not Role.OWNER:
        raise ChainFault(RefusalCode.NOT_ALLOWED, "owners change roles")
    target = state.members.get(statement.member)
    if target is None:
        raise ChainFault(RefusalCode.NOT_FOUND, "there is no such member")
    # A group without an owner could never change its members again.
    if statement.role is not Role.OWNER and _owners(state) == {statement.member}:
        raise ChainFault(RefusalCode.LAST_OWNER, "somebody has to own the group")
    return _seat(state, statement.member, replace(target, role=statement.role))


def _leave(state: Membership, statement: Leave) -> Membership:
    if state.kind is ConversationKind.SELF:
        raise ChainFault(RefusalCode.WRONG_KIND, "nobody leaves the conversation with oneself")
    _signer(state, statement)
    if len(state.accepted) == 1:
        # Nobody is left who could sign for those that are invited: the chain ends.
        return replace(state, members={}, links={})
    if _owners(state) == {statement.profile}:
        raise ChainFault(RefusalCode.LAST_OWNER, "somebody has to own the group")
    return _without(state, statement.profile)


def _set_policy(state: Membership, statement: Policy) -> Membership:
    if _group_signer(state, statement).role is not Role.OWNER:
        raise ChainFault(RefusalCode.NOT_ALLOWED, "owners set policies")
    if statement.value not in POLICIES.get(statement.name, ()):
        raise UnknownStatement
    return replace(state, policies={**state.policies, statement.name: statement.value})


def _owners(state: Membership) -> set[ProfileId]:
    return {profile for profile, member in state.accepted.items() if member.role is Role.OWNER}


def _seat(state: Membership, profile: ProfileId, member: Member) -> Membership:
    if profile not in state.members and len(state.members) >= MEMBERS_PER_CONVERSATION:
        raise ChainFault(RefusalCode.TOO_MANY, f"a conversation has at most {MEMBERS_PER_CONVERSATION} members")
    return replace(state, members={**state.members, profile: member})


def _without(state: Membership, profile: ProfileId) -> Membership:
    return replace(state, members={each: member for each, member in state.members.items() if each != profile})
