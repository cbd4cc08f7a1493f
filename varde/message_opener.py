"""What a number of a conversation holds: a message that is opened and compared, or a statement that is verified.

What it rests on may be missing: the sender's device, or the chain before a statement. That is fetched in the
background, and the number is held back until then. Each thing is asked for once.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from varde.chain_catch_up import Ahead, ChainCatchUp
from varde.chains import Numbered
from varde.clock import now_ms
from varde.crypto import CannotDecrypt
from varde.crypto.trust import UnknownSigner
from varde.events import Break, Reason, TranscriptBroken, Undecryptable, Unknown, at
from varde.gap_tracker import GapTracker
from varde.named_lists import Unjudged
from varde.sayings import Origin, SaidEvent, event_of
from varde.services import Services
from varde_contract import frames as f
from varde_contract.bodies import Saying
from varde_contract.envelope import ENVELOPE_VERSION, ChainHead, Cipher, Envelope, UnknownEnvelope, split_sealed
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.membership_statements import UnknownStatement, parse_statement

_MEMBERSHIP = bytes((ENVELOPE_VERSION, Cipher.MEMBERSHIP))


class _Sender(NamedTuple):
    """A sender as a message names it."""

    conversation: ConversationId
    device: DeviceId
    profile: ProfileId


class Lookups(Protocol):
    """What is fetched by tasks of the client. None of these calls waits."""

    def look_up_sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        """Fetch and verify whose device this is, then call `Receiver.release`."""

    def catch_up(self, conversation: ConversationId) -> None:
        """Fetch and verify the statements about the members, then call `Receiver.release_chain`."""

    def learn_lists(self, conversation: ConversationId) -> None:
        """In a moment, fetch and verify the device lists of the members, then call `Receiver.judge_lists`."""


class MessageOpener:
    """Opens within the transaction of the caller, who runs what is given to `on_commit` after it."""

    def __init__(
        self,
        services: Services,
        lookups: Lookups,
        gaps: GapTracker,
        on_commit: Callable[[Callable[[], None]], None],
    ) -> None:
        self._identity = services.identity
        self._store = services.store
        self._keychain = services.keychain
        self._chains = services.chains
        self._outbox = services.outbox
        self._events = services.events
        self._transparency = services.transparency
        self._lookups = lookups
        self._gaps = gaps
        self._on_commit = on_commit
        self._looking_up: set[_Sender] = set()
        # For as long as the client lives: a sender that stays unknown must not cost a request for every message.
        self._lookup_results: dict[_Sender, Reason] = {}
        self._catch_up = ChainCatchUp()
        self._named_lists = services.named_lists

    def open(self, new: f.New) -> bool:
        """Store what a message says, or why it cannot be opened; False when it must wait for what is fetched now."""
        if new.ciphertext[:2] == _MEMBERSHIP:
            return self._take_statement(new)
        try:
            envelope, breaks = self._keychain.open(new)
        except CannotDecrypt as fault:
            reason = fault.reason
            if reason is Reason.UNKNOWN_SENDER:
                if self._may_look_up(new):
                    return False
                reason = self._lookup_results[_sender_of(new)]
            self._store_undecryptable(new, reason)
            return True
        self._on_commit(lambda: self._transparency.hear(envelope.checkpoint, new.sender_device))
        # Shown, whatever else is wrong: to hide what somebody wrote would be one more thing that a server can do.
        shown = self._shown(new, envelope)
        if shown is not None and not self._store.log.add(shown):
            self._store_undecryptable(new, Reason.REPLAYED)
        self._note_chain(new, envelope.chain)
        statement = self._store.chains.hash_of(new.conversation, envelope.chain.number)
        if statement not in {None, envelope.chain.hash} and Break.FORKED not in breaks:
            breaks = (*breaks, Break.FORKED)  # the sender was shown other members
        why_lists = self._judge_lists(new, envelope)
        for why in (*breaks, *([] if why_lists is None else [why_lists])):
            self._store.log.add(TranscriptBroken(new.conversation, new.seq, new.sender_device, why))
        return True

    def sender_looked_up(
        self, conversation: ConversationId, device: DeviceId, profile: ProfileId, reason: Reason
    ) -> None:
        """A sender was looked up: its messages are opened now, or stored with `reason` where it is still unknown."""
        self._looking_up.discard(_Sender(conversation, device, profile))
        self._lookup_results[_Sender(conversation, device, profile)] = reason

    def chain_fetched(self, conversation: ConversationId) -> None:
        """The chain was fetched: say so where it still lacks what the sender of a message had seen."""
        ahead, chain = self._catch_up.end(conversation), self._store.chains.find(conversation)
        # A chain that a newer client continued says why it stopped by itself.
        if ahead is None or chain is None or chain.blocked or chain.state.number >= ahead.head.number:
            return
        # What was fetched may have been asked for before this message came, and be older than the statement it names.
        if self._catch_up.note(conversation, ahead):
            self._lookups.catch_up(conversation)
            return
        with self._store.transaction():
            self._store.log.add(TranscriptBroken(conversation, ahead.seq, ahead.device, Break.DROPPED))
        self._events.notify()

    def lists_fetched(self, conversation: ConversationId, unknown: AbstractSet[AccountId]) -> None:
        """Device lists were fetched, but for those of `unknown`: say which messages name others."""
        found = self._named_lists.end(conversation, unknown)
        if found:
            with self._store.transaction():
                for message, why in found:
                    self._store.log.add(TranscriptBroken(conversation, message.seq, message.device, why))
            self._events.notify()
        if self._named_lists.begin(conversation):
            self._lookups.learn_lists(conversation)

    def _judge_lists(self, new: f.New, envelope: Envelope | UnknownEnvelope) -> Break | None:
        said = envelope.chain, envelope.lists, envelope.written_ms
        why = self._named_lists.judge(Unjudged(new.conversation, new.seq, new.sender_device, *said))
        if self._named_lists.begin(new.conversation):
            self._on_commit(lambda: self._lookups.learn_lists(new.conversation))
        return why

    def _note_chain(self, new: f.New, head: ChainHead) -> None:
        """Look for statements that the sender had seen and this device has not."""
        # After the message, which cannot be opened twice. Where the server has no such statement, that is told then.
        if head.number > self._chains.number(new.conversation) and self._catch_up.note(
            new.conversation, Ahead(new.seq, new.sender_device, head)
        ):
            self._on_commit(lambda: self._lookups.catch_up(new.conversation))

    def _take_statement(self, new: f.New) -> bool:
        """Take a membership statement in; False when the chain before it, or its signer, must be fetched first."""
        reason = Reason.FORGED_STATEMENT
        try:
            signed = split_sealed(new.ciphertext).ciphertext
            try:
                if self._chains.take(new.conversation, Numbered(new.seq, signed)):
                    self._on_commit(lambda: self._outbox.wake_sender(new.conversation))
                    return True
            except UnknownStatement:
                self._chains.block(new.conversation)
                reason = Reason.UNKNOWN_STATEMENT
            except UnknownSigner:
                pass
            if reason is Reason.FORGED_STATEMENT and self._may_catch_up(new, signed):
                return False
        # No statement at all: it is stored below as one that nothing proves.
        except PeerFault:
            pass
        self._store.log.add(Undecryptable(new.conversation, new.seq, reason))
        return True

    def _may_catch_up(self, new: f.New, signed: bytes) -> bool:
        number = parse_statement(signed)[0].number
        if self._catch_up.has_answer(new.conversation, number):
            return False
        self._gaps.hold(new.conversation)
        if self._catch_up.begin(new.conversation, number):
            self._on_commit(lambda: self._lookups.catch_up(new.conversation))
        return True

    def _may_look_up(self, new: f.New) -> bool:
        sender = _sender_of(new)
        if sender in self._lookup_results:
            return False
        # Also when it comes again meanwhile, perhaps on another connection: only the result of the lookup decides.
        self._gaps.hold(new.conversation)
        if sender not in self._looking_up:
            self._looking_up.add(sender)
            self._on_commit(lambda: self._lookups.look_up_sender(*sender))
        return True

    def _store_undecryptable(self, new: f.New, reason: Reason) -> None:
        self._store.log.add(Undecryptable(new.conversation, new.seq, reason))
        # Only where a ratchet is lost. To answer a forgery so would let anybody make a device speak.
        if self._keychain.request_reset(new, reason, now_ms()):
            self._on_commit(lambda: self._outbox.wake_sender(new.conversation))

    def _shown(self, new: f.New, envelope: Envelope | UnknownEnvelope) -> SaidEvent | Unknown | None:
        """Return what is shown of a message; None for what only turns ratchets or shares keys."""
        if isinstance(envelope, UnknownEnvelope):
            return Unknown(new.conversation, new.seq, new.client_id, new.sender_profile, new.sender_device)
        if not isinstance(envelope.body, Saying):
            return None
        return event_of(
            envelope.body,
            Origin(
                conversation=new.conversation,
                seq=new.seq,
                client_id=new.client_id,
                profile=new.sender_profile,
                device=new.sender_device,
                account=envelope.account,
                written=at(envelope.written_ms),
                received=at(new.time),
                mine=envelope.account == self._identity.account,
            ),
        )


def _sender_of(new: f.New) -> _Sender:
    return _Sender(new.conversation, new.sender_device, new.sender_profile)
