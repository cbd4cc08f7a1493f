"""The stores that the rules about conversations need, as Protocols.

Every method may raise `StoreUnavailable`, and is a checkpoint. A call that changes something is one transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from domain.talk.model import (
    Block,
    Committed,
    Confirmation,
    ConversationHead,
    Draft,
    EpochHead,
    Extended,
    Invitation,
    Link,
    ListRequest,
    LogHead,
    LogPage,
    LogRequest,
    NewStatement,
    Reach,
    Roster,
    RosterOutdated,
    RosterView,
    SealedCard,
    SendKey,
    StoredStatement,
    Summary,
    Words,
)
from varde_contract.ids import AccountId, ConversationId, DeviceId, EpochId, LinkId, ProfileId
from varde_contract.membership import Member
from varde_contract.talk import ConversationKind


class NewRoster(Struct, frozen=True):
    """A conversation to be opened, with the statements that say so and the encoded membership after them.

    `pair` is the sorted two (dm) or the one (self) profile it is unique by. Its roster begins at `version`.
    """

    conversation: ConversationId
    kind: ConversationKind
    members: Mapping[ProfileId, Member]
    pair: tuple[ProfileId, ProfileId] | None
    created_ms: int
    statements: Sequence[NewStatement] = ()
    state: bytes = b""
    version: int = 1


class ChainChange(Struct, frozen=True):
    """Statements that follow number `after` of a conversation, and the members and encoded membership after them.

    `joining` are the accounts of those who are members now and were not before. `freed` is the pair of a dm that is
    over, so that its two may begin another one.
    """

    conversation: ConversationId
    after: int
    members: Mapping[ProfileId, Member]
    statements: Sequence[NewStatement]
    state: bytes
    joining: frozenset[AccountId]
    freed: tuple[ProfileId, ProfileId] | None


class ConversationStore(Protocol):
    """Conversations and memberships. A change of members moves the roster version."""

    async def open(self, new: NewRoster) -> tuple[ConversationId, bool]:
        """Store the conversation, or return the one its pair already has; True when it was made now.

        One whose id is there already is not touched.
        """

    async def pair(self, pair: tuple[ProfileId, ProfileId]) -> ConversationId | None:
        """Return the dm or self of a pair."""

    async def rosters(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, Roster]:
        """Return the rosters; unknown conversations are left out."""

    async def view(self, conversation: ConversationId) -> RosterView | None:
        """Return the roster with salts and device lists."""

    async def list_for(self, device: DeviceId, after: ConversationId | None, limit: int) -> Sequence[Summary]:
        """Return the conversations the device receives for, in the order of their ids, after a cursor."""

    async def list_many(self, requests: Sequence[ListRequest]) -> Sequence[Sequence[ConversationHead]]:
        """Return a page for each request, newest conversations first, in one query for all of them."""

    async def log_heads(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, LogHead]:
        """Return how far these conversations have come; unknown ones are left out."""

    async def recent_heads(self, after_ms: int, upto_ms: int) -> Mapping[ConversationId, int]:
        """Return the last number of each conversation among the messages that were sent in that time."""

    async def extend(self, change: ChainChange) -> Extended | None:
        """Store statements, and the members as they then are; None where the last statement is another one.

        Who accepted has what comes from the head on, that very statement first. Who is gone loses the positions and
        waiting ciphertext of the devices that no longer belong. The roster moves when those who accepted are others, or
        their roles are.
        """

    async def membership(self, conversation: ConversationId) -> bytes | None:
        """Return the encoded membership after the last statement."""

    async def statements(self, conversation: ConversationId, first: int, limit: int) -> Sequence[StoredStatement]:
        """Return the statements from number `first` on, in order."""

    async def has_gone_on(self, conversation: ConversationId) -> bool:
        """Whether something new was stated since the present epoch began: what was lost cannot follow that."""

    async def invitations(self, device: DeviceId, most: int) -> Sequence[Invitation]:
        """Return what the profiles that a device receives for are invited to, newest first.

        Left out is what accounts ask that the owner has blocked. Of each profile at most `most` are by strangers, who
        share no conversation with it: those of accounts that ask for less come before those of accounts that ask for
        more, and then the newest ones. The newest of who used a link to the profile is none of these.
        """


class ConsentStore(Protocol):
    """Who may ask whom, and who does not want to be asked."""

    async def reach(self, account: AccountId, profiles: Sequence[ProfileId], now_ms: int) -> Mapping[ProfileId, Reach]:
        """Return how the account stands to these profiles now; unknown ones are left out."""

    async def invited_devices(self, account: AccountId, conversation: ConversationId) -> Mapping[DeviceId, AccountId]:
        """Return the devices, with their accounts, of the profiles that an account invited and that did not answer."""

    async def put_words(
        self, account: AccountId, conversation: ConversationId, profile: ProfileId, words: Mapping[DeviceId, Words]
    ) -> Sequence[DeviceId] | None:
        """Keep what an invitation of the account says to devices of the profile, until it is answered; return to which.

        Words for other devices are left out. None where no invitation of the account waits.
        """

    async def block(self, account: AccountId, blocked: AccountId, now_ms: int, most: int) -> bool:
        """Block an account, known or not. Again changes nothing. False when there are `most` already."""

    async def unblock(self, account: AccountId, blocked: AccountId) -> None:
        """Block it no longer. What it asked meanwhile is seen again."""

    async def blocks(self, account: AccountId) -> Sequence[Block]:
        """Return whom the account has blocked, newest first."""


class CardStore(Protocol):
    """Sealed cards: one of each profile, and one of each group."""

    async def put_profile(self, account: AccountId, profile: ProfileId, card: SealedCard) -> SealedCard | None:
        """Store a card of the account's profile, and return the newest then.

        Its number has to be larger than that of the one that is there, by `CARD_STEP` at most (as if that was 0 where
        there is none), or nothing is stored. The profile must be the account's.
        """

    async def profile(self, account: AccountId, profile: ProfileId) -> SealedCard | None:
        """Return the newest card of an account's profile."""

    async def put_group(self, conversation: ConversationId, card: SealedCard) -> SealedCard | None:
        """Store a card of a conversation, as `put_profile` does. The conversation must be there."""

    async def group(self, conversation: ConversationId) -> SealedCard | None:
        """Return the newest card of a conversation."""


class LinkStore(Protocol):
    """Invite links to profiles, and which accounts have used them."""

    async def add(self, link: Link, now_ms: int, most: int) -> Link | None:
        """Keep a link; one of the same account and id that is there is returned instead, with the uses that it has
        left. None when the account has `most` that have not ended.
        """

    async def list_live(self, account: AccountId, now_ms: int) -> Sequence[Link]:
        """Return the account's links that have not ended and have uses left, newest first."""

    async def list_of(self, account: AccountId, profile: ProfileId) -> Sequence[Link]:
        """Return all links to a profile of the account, those as well that are used up or have ended."""

    async def use(self, account: AccountId, link: LinkId, by: AccountId, now_ms: int) -> bool:
        """Use up one use, unless `by` did before. False where the link is not there, has ended, or has none left.

        Of two at once who want the last use, one gets it.
        """

    async def remove(self, account: AccountId, link: LinkId) -> None:
        """Forget a link, and who used it."""


class JournalStore(Protocol):
    """The log of conversations, written in batches: one statement for each."""

    async def commit(self, drafts: Sequence[Draft]) -> Sequence[Committed | RosterOutdated]:
        """Number and store the drafts in the order given, all durable when this returns; one answer for each.

        A draft whose (conversation, device, client id) was in the log, or is stored by another draft of the batch,
        answers as that one, a duplicate, whatever roster version it was decided on.
        """

    async def find_committed(self, keys: Sequence[SendKey]) -> Sequence[Committed | None]:
        """Return, for each key, the message that is in the log, as a duplicate of it would be answered."""


class MailboxStore(Protocol):
    """The log of conversations, as devices read it, and their positions in it."""

    async def read(self, requests: Sequence[LogRequest]) -> Sequence[LogPage | None]:
        """Return one page for each request, in one query; None where the device does not belong to the conversation."""

    async def confirm(self, confirmations: Sequence[Confirmation]) -> Sequence[Confirmation]:
        """Move positions forward, delete ciphertext nobody waits for, and return those that did move, with where to.

        A position never goes back, nor beyond the head. Several of one device in one conversation answer as one,
        in the place of the first.
        """

    async def mark_read(self, marks: Sequence[tuple[ConversationId, ProfileId, int]]) -> Sequence[int]:
        """Move read positions forward, one mark after the other; return the indexes of those that did move.

        A mark beyond the head, or of a profile that is no member, does nothing.
        """


class EpochStore(Protocol):
    """The epochs of the store. A new one begins when something that was committed is lost."""

    @property
    def known(self) -> Sequence[EpochId]:
        """The epochs, newest first, as of the last look. Every new connection is looked at before it is used."""

    async def look(self) -> None:
        """Look whether a new one has to begin, and remember how far the store is."""

    async def heads(self, conversations: Sequence[ConversationId]) -> Mapping[ConversationId, Sequence[EpochHead]]:
        """Return the last numbers that each conversation had kept when each epoch began, newest first."""
