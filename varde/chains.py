"""Chains of membership statements, verified one by one: what this device believes about who is in a conversation.

Everything here runs within the caller's transaction.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from varde.crypto.pairwise import load_account
from varde.crypto.trust import Trust
from varde.events import Change, MembershipChange
from varde.identity import Identity
from varde.store import Store
from varde.store.chains import Chain
from varde.store.log import Taken
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.talk import ChainHead


class Numbered(NamedTuple):
    """A signed statement, and the number it has in the log of its conversation."""

    seq: int
    signed: bytes


class Chains:
    """The chains of this device's conversations."""

    def __init__(self, store: Store, trust: Trust, identity: Identity) -> None:
        self._store = store
        self._trust = trust
        self._identity = identity
        self._profiles = frozenset(profile.id for profile in identity.profiles)

    def number(self, conversation: ConversationId) -> int:
        """Return the number of the last verified statement, -1 before the first."""
        chain = self._store.chains.find(conversation)
        return -1 if chain is None else chain.state.number

    def take(self, conversation: ConversationId, statement: Numbered) -> bool:
        """Verify and keep the next statement. Nothing changes for one that is here already.

        False: what is before it is not here, so the chain must be fetched. Raises UnknownSigner where the signer's
        certificate must be, and ChainFault for a lie, of which UnknownStatement is none.
        """
        chain = self._store.chains.find(conversation)
        parsed, _ = s.parse_statement(statement.signed)
        if chain is None or parsed.number > chain.state.number + 1:
            return False
        if parsed.number > chain.state.number:
            self._append(chain, statement, m.apply(chain.state, statement.signed, self._trust.signer_key))
            return True
        # The log brings each statement that was fetched by the API a second time: that is the usual case, not a lie.
        known = self._store.chains.hash_of(conversation, parsed.number)
        if known is not None and known != s.digest_of(statement.signed):
            raise s.ChainFault(RefusalCode.STALE_CHAIN, "two statements have the same number")
        return True

    def block(self, conversation: ConversationId) -> None:
        """Send nothing until an updated client has read on: a statement follows that is not known here."""
        chain = self._store.chains.find(conversation)
        if chain is not None:
            self._store.chains.put(replace(chain, blocked=True))

    def begin(self, conversation: ConversationId, statements: Sequence[Numbered], state: bytes | None) -> None:
        """Keep a chain that somebody else began, as this device sees it first; `state` where it begins with a snapshot.

        It is anchored on the statement that the link named by which this device came, on the last one that invited this
        account, or on the creation. Whoever signed that one vouches for all before it by its hash; those after it are
        verified one by one. Raises what `take` raises.
        """
        membership = None if state is None else m.decode_state(state)
        anchor = self._anchor(conversation, statements)
        chain: Chain | None = None
        for place, each in enumerate(statements):
            if place < anchor:
                membership = m.replay(membership, each.signed)
            else:
                try:
                    membership = m.apply(membership, each.signed, self._trust.signer_key)
                except s.UnknownStatement:
                    if chain is None:
                        raise
                    chain = replace(chain, blocked=True)
                    break
            if membership.conversation != conversation:
                raise s.ChainFault(RefusalCode.STALE_CHAIN, "the statements are of another conversation")
            self._store.chains.keep(membership, each.signed)
            parsed, _ = s.parse_statement(each.signed)
            chain = _following(chain, membership, parsed)
            # Also what this device said itself: it may be told of its new conversation before it has the answer.
            if place >= anchor and parsed.device == self._identity.device:
                self._store.own_numbers.acked(conversation, each.seq)
        if chain is None:
            raise s.ChainFault(RefusalCode.STALE_CHAIN, "a conversation has no statements")
        self._store.chains.put(chain)

    def expect(self, conversation: ConversationId, head: ChainHead | None) -> None:
        """Begin the conversation's chain, when it comes, at nothing but this statement; None: as any other."""
        if head is None:
            self._store.settings.remove(_anchor_of(conversation))
        else:
            self._store.settings.put(_anchor_of(conversation), head)

    def expected(self, conversation: ConversationId) -> ChainHead | None:
        """Return the statement that `expect` named."""
        return self._store.settings.find(_anchor_of(conversation), ChainHead)

    def _anchor(self, conversation: ConversationId, statements: Sequence[Numbered]) -> int:
        expected = self.expected(conversation)
        if expected is None:
            return max((place for place, each in enumerate(statements) if self._is_own(each.signed)), default=0)
        for place, each in enumerate(statements):
            number = s.parse_statement(each.signed)[0].number
            if ChainHead(number, s.digest_of(each.signed)) == expected:
                return place
        raise s.ChainFault(RefusalCode.STALE_CHAIN, "the chain does not hold the statement that the link names")

    def make(self, membership: m.Membership | None, signed: bytes) -> m.Membership:
        """Judge a statement of this device before it is sent. Raises ChainFault where the server would refuse it."""
        return m.apply(membership, signed, self._own_key)

    def keep_own(self, conversation: ConversationId, statements: Sequence[Numbered]) -> None:
        """Keep statements of this device that the server has stored, the creation of a conversation among them."""
        for each in statements:
            chain = self._store.chains.find(conversation)
            if chain is None:
                self._append(None, each, m.apply(None, each.signed, self._own_key))
            elif s.parse_statement(each.signed)[0].number > chain.state.number:
                self._append(chain, each, m.apply(chain.state, each.signed, self._own_key))

    def signer(self, profile: ProfileId) -> m.Signer:
        """Return what stands of this device in a statement."""
        newest = self._trust.lists.newest(self._identity.account)
        assert newest is not None, "this device is in a list"
        return m.Signer(self._identity.account, profile, self._identity.device, newest.number)

    def sign(self, statement: s.AnyStatement) -> bytes:
        """Sign with this device's key."""
        return s.sign_statement(statement, load_account(self._store).sign)

    def _own_key(self, _: s.Statement) -> bytes:
        return load_account(self._store).signing_key

    def _is_own(self, signed: bytes) -> bool:
        match s.parse_statement(signed)[0]:
            case s.Create(account=account):
                return account == self._identity.account
            case s.Invite(invited_account=account, invited=invited):
                return account == self._identity.account and invited in self._profiles
            case _:
                return False

    def _append(self, chain: Chain | None, statement: Numbered, membership: m.Membership) -> None:
        parsed, _ = s.parse_statement(statement.signed)
        self._store.chains.put(_following(chain, membership, parsed))
        self._store.chains.keep(membership, statement.signed)
        own = parsed.device == self._identity.device
        if own:
            self._store.own_numbers.acked(membership.conversation, statement.seq)
        # An own statement is told to nobody: who made it knows. Other devices of the account are told.
        event = _event_of(parsed, statement.seq, mine=parsed.account == self._identity.account)
        if event is not None:
            self._store.log.add(event, Taken.NEVER if own else Taken.NOT_YET)


def _anchor_of(conversation: ConversationId) -> str:
    return f"anchor-{conversation}"


def _following(chain: Chain | None, membership: m.Membership, statement: s.Statement) -> Chain:
    past = {} if chain is None else chain.past
    inviters = {} if chain is None else dict(chain.inviters)
    if isinstance(statement, s.Invite):
        inviters[statement.invited] = statement.profile
    accepted = {profile: member.account for profile, member in membership.accepted.items()}
    inviters = {each: by for each, by in inviters.items() if each in membership.members}
    return Chain(membership, {**past, **accepted}, inviters)


def _event_of(statement: s.Statement, seq: int, *, mine: bool) -> MembershipChange | None:
    """Say in this client's own words what a statement did."""
    profile, role = statement.profile, None
    match statement:
        case s.Create():
            change = Change.CREATED
        case s.Invite():
            change, profile, role = Change.INVITED, statement.invited, statement.role
        case s.InviteLink():
            change, role = Change.LINK, statement.role
        case s.Accept():
            change = Change.ACCEPTED
        case s.Decline():
            change = Change.DECLINED
        case s.Remove():
            change, profile = Change.REMOVED, statement.removed
        case s.ChangeRole():
            change, profile, role = Change.ROLE, statement.member, statement.role
        case s.Leave():
            change = Change.LEFT
        case s.Policy():
            change = Change.POLICY
        case _:
            return None
    head = statement.conversation, seq, statement.number
    return MembershipChange(*head, change, statement.profile, profile, role, mine)
