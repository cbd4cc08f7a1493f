"""The types of the rules about conversations, as frozen Structs. Times are integer milliseconds of the Unix epoch."""

from collections.abc import Mapping

from msgspec import Struct

from varde_contract.ids import AccountId, ClientId, ConversationId, DeviceId, EpochId, LinkId, MessageId, ProfileId
from varde_contract.people import FoundBy
from varde_contract.talk import ConversationKind, Role


class Member(Struct, frozen=True):
    """A profile in a conversation. It cannot have numbers below `from_seq`. The flags are its policies."""

    profile: ProfileId
    account: AccountId
    role: Role
    from_seq: int
    read_receipts: bool
    delivery_receipts: bool
    typing: bool
    presence: bool


class Roster(Struct, frozen=True):
    """The members of a conversation and the profiles each of their current devices receives for.

    Lean on purpose: relays keep many. A device is here when at least one member profile is on its whitelist.
    `superseded_ms` says when each of the versions just before this one was superseded, oldest first, as far back as
    nobody was removed.
    """

    conversation: ConversationId
    kind: ConversationKind
    version: int
    members: Mapping[ProfileId, Member]
    devices: Mapping[DeviceId, frozenset[ProfileId]]
    superseded_ms: tuple[int, ...] = ()

    def account_of(self, device: DeviceId) -> AccountId:
        """Return whose device it is. Raises KeyError when it is not in the roster."""
        # Every device here receives for at least one member, and a device's profiles are of one account.
        return self.members[next(iter(self.devices[device]))].account


class ListHead(Struct, frozen=True):
    """An account's newest device list, by number and hash."""

    number: int
    hash: bytes


class ChainHead(Struct, frozen=True):
    """The last membership statement of a conversation: its number and hash."""

    number: int
    hash: bytes


class RosterView(Struct, frozen=True):
    """A roster with what a sender checks it by: the salts that open profiles, and the accounts' newest device lists.

    `invited` are the profiles that have not accepted: they are in no roster. `chain` is None without statements.
    """

    roster: Roster
    invited: Mapping[ProfileId, AccountId]
    chain: ChainHead | None
    created_ms: int
    head: int
    salts: Mapping[ProfileId, bytes]
    lists: Mapping[AccountId, ListHead]


class NewStatement(Struct, frozen=True):
    """A membership statement that was judged, not stored yet. `state` is what a snapshot speaks of, else None.

    `account` and `signer` signed it; it invites the profile `invited`, if it does. `profile` and `device` bring it: the
    message of the log is theirs. They are the signer's, but for a statement that somebody else puts back.
    """

    signed: bytes
    number: int
    hash: bytes
    state: bytes | None
    account: AccountId
    signer: ProfileId
    invited: ProfileId | None
    profile: ProfileId
    device: DeviceId
    message: MessageId
    client_id: ClientId
    sent_ms: int
    put_back: bool = False


class StoredStatement(Struct, frozen=True):
    """A membership statement and the number it has in the log."""

    number: int
    seq: int
    signed: bytes
    state: bytes | None


class Extended(Struct, frozen=True):
    """Statements are in the log under `seqs`. `moved`: the roster is another one now, at `roster_version`."""

    seqs: tuple[int, ...]
    roster_version: int
    moved: bool


class Words(Struct, frozen=True):
    """The first words of an invitation for one device, and who wrote them: as which profile, with which device."""

    client_id: ClientId
    profile: ProfileId
    device: DeviceId
    ciphertext: bytes


class Invitation(Struct, frozen=True):
    """A profile is asked to be a member of a conversation; `words` are for the device that asks."""

    conversation: ConversationId
    kind: ConversationKind
    profile: ProfileId
    words: Words | None = None


class Reach(Struct, frozen=True):
    """How an account stands to a profile that it wants to ask: what the owner allows, and what there is already.

    `linked`: the account was given a link to the profile that is still good. `shares`: its account and the profile
    accepted to be in one conversation. `signed`: the profile signed something in
    a conversation that the account is in or invited to, and must be able to verify. `waiting`: how many of its
    invitations of this profile wait for an answer, seen or not. `blocked`: the owner does not want to see them.
    `asks`: an invitation of the owner's account waits for an answer of this one.
    """

    owner: AccountId
    found_by: FoundBy
    linked: bool
    shares: bool
    signed: bool
    waiting: int
    blocked: bool
    asks: bool


class SealedCard(Struct, frozen=True):
    """A card as a client sealed it; of two, the one with the larger number is the newer."""

    number: int
    sealed: bytes


class Block(Struct, frozen=True):
    """An account that another one has blocked."""

    account: AccountId
    since_ms: int


class Link(Struct, frozen=True):
    """An invite link to a profile. `digest` is of what its holder shows; `uses` are those that are left."""

    account: AccountId
    id: LinkId
    profile: ProfileId
    digest: bytes
    uses: int
    expires_ms: int
    made_ms: int


class Summary(Struct, frozen=True):
    """A conversation as one device sees it in a list; `profiles` are those of its member profiles it receives for."""

    conversation: ConversationId
    kind: ConversationKind
    profiles: tuple[ProfileId, ...]
    head: int
    upto: int
    roster_version: int


class ListRequest(Struct, frozen=True):
    """Ask for a page of the conversations a device receives for, newest first: `limit` of those older than `before`.

    A connection joins them in this order, so what it has no room for are the oldest, not a friend's of today.
    """

    device: DeviceId
    before: ConversationId | None
    limit: int


class ConversationHead(Struct, frozen=True):
    """Where a device stands in a conversation: what a relay needs of a list, and no more.

    `own_seq` is the last number behind `upto` that the device sent itself, 0 for none.
    """

    conversation: ConversationId
    head: int
    upto: int
    roster_version: int
    own_seq: int


class EpochHead(Struct, frozen=True):
    """The last number that a conversation had kept when an epoch of the store began."""

    epoch: EpochId
    head: int


class Draft(Struct, frozen=True):
    """A message that was allowed at `roster_version`, not stored yet. One of `group` and `devices` is set.

    With `part` the others of the roster are told that it is not for them.
    """

    message: MessageId
    conversation: ConversationId
    roster_version: int
    client_id: ClientId
    profile: ProfileId
    device: DeviceId
    sent_ms: int
    group: bytes | None
    devices: Mapping[DeviceId, bytes] | None
    part: bool = False


class Committed(Struct, frozen=True):
    """A stored message; with `duplicate` it had been stored before, and the first one's figures are here."""

    message: MessageId
    seq: int
    sent_ms: int
    duplicate: bool


class SendKey(Struct, frozen=True):
    """What a message is known by to its sender: the same one again is the same message."""

    conversation: ConversationId
    device: DeviceId
    client_id: ClientId


class LogHead(Struct, frozen=True):
    """How far a conversation has come: its last number, and the version of its roster."""

    head: int
    roster_version: int


class RosterOutdated(Struct, frozen=True):
    """Nothing was stored: the roster is no longer the one decided upon. Read it again and decide again."""


class LogRequest(Struct, frozen=True):
    """Ask for a device's view of the numbers from `from_seq`, at most `limit` of them and about `max_bytes`."""

    device: DeviceId
    conversation: ConversationId
    from_seq: int
    limit: int
    max_bytes: int


class LogEntry(Struct, frozen=True):
    """One number of the log as one device sees it. Without `ciphertext` the device cannot have it.

    An empty one says that the message was a part for others.
    """

    seq: int
    message: MessageId
    client_id: ClientId
    profile: ProfileId
    device: DeviceId
    sent_ms: int
    ciphertext: bytes | None


class LogPage(Struct, frozen=True):
    """Entries in order. Numbers from `from_seq` to below `next_seq` that have no entry are no longer in the log.

    `start` is the first number this device could ever have had: its position when it came into the conversation + 1.
    `upto` is what it has confirmed.
    """

    conversation: ConversationId
    from_seq: int
    next_seq: int
    head: int
    start: int
    upto: int
    entries: tuple[LogEntry, ...]


class Confirmation(Struct, frozen=True):
    """`device` holds every number of `conversation` up to and with `upto`."""

    conversation: ConversationId
    device: DeviceId
    upto: int
