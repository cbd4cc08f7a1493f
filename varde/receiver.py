"""Frames from the relay, stored: those of one message in one transaction, in order, each number exactly once."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from itertools import takewhile
from typing import Protocol

from varde.clock import now_ms
from varde.connection import Connection
from varde.events import Gap, HistoryLost, NotJoined, Presence, Reason, Receipt, RequestsChanged, Typing
from varde.gap_tracker import GapTracker
from varde.message_opener import Lookups, MessageOpener
from varde.services import Services
from varde_contract import frames as f
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId
from varde_contract.refusals import RefusalCode

SYNC, SEND, JOIN = (f.tag_of(kind) for kind in (f.Sync, f.Send, f.Join))
RETRYABLE = frozenset({RefusalCode.RATE_LIMITED, RefusalCode.UNAVAILABLE, RefusalCode.OVERLOADED})
RETRY_MS = 1_000
RECENT = 64
"""Conversations, of those written in last, that are joined before all others where there are too many."""


class BackgroundWork(Lookups, Protocol):
    """What takes time, and is therefore done by tasks of the client. None of these calls waits."""

    def call_later(self, after_ms: int, action: Callable[[], None]) -> None:
        """Call `action` after so many milliseconds."""

    def look_at_requests(self) -> None:
        """Let in who asks by a link of this device."""

    def refill_prekeys(self) -> None:
        """Upload prekeys where few are left."""


class Receiver:
    """Stores what frames bring. What must not happen before the commit (confirming, waking) is done right after it."""

    def __init__(self, services: Services, background: BackgroundWork) -> None:
        self._identity = services.identity
        self._profiles = frozenset(profile.id for profile in services.identity.profiles)
        self._store = services.store
        self._keychain = services.keychain
        self._rosters = services.rosters
        self._outbox = services.outbox
        self._joins = services.joins
        self._events = services.events
        self._background = background
        self._connection: Connection | None = None
        self._gaps = GapTracker()
        self._advanced: set[ConversationId] = set()
        self._on_commit: list[Callable[[], None]] = []
        self._opener = MessageOpener(services, background, self._gaps, self._on_commit.append)

    def set_connection(self, connection: Connection) -> None:
        """Join every conversation over a new connection."""
        self._connection = connection
        self._gaps.clear()
        self._joins.clear()
        if connection.welcome.more:
            # The relay joins the newest first, up to a limit: what is old and still talked in is named by its id.
            for conversation in self._store.log.recent(RECENT):
                connection.send(f.Join(conversation))
        self._join()

    def drop_connection(self) -> None:
        """The connection is lost."""
        self._connection = None
        self._gaps.clear()
        self._joins.clear()

    def receive(self, frames: Sequence[f.ServerFrame]) -> None:
        """Store the frames of one message, all of them or none."""
        try:
            # A message must be on the disk before it is confirmed: the relay may then delete it. Everything else comes
            # again by itself: an ack when the same bytes are sent again, a receipt or a position with the next one.
            with self._store.transaction(durable=any(isinstance(frame, f.New) for frame in frames)):
                for frame in frames:
                    self._receive(frame)
            self._after_commit()
        finally:
            # Also after an exception: what was not committed must not be confirmed after the next message.
            self._advanced.clear()
            self._on_commit.clear()

    def release(
        self,
        conversation: ConversationId,
        device: DeviceId,
        profile: ProfileId,
        reason: Reason = Reason.UNKNOWN_SENDER,
    ) -> None:
        """The sender was looked up: receive what was held back, with `reason` where the sender is still unknown."""
        self._opener.sender_looked_up(conversation, device, profile, reason)
        self._gaps.release(conversation)
        self._request_missing(conversation)

    def release_chain(self, conversation: ConversationId) -> None:
        """The chain was fetched: receive what was held back."""
        self._opener.chain_fetched(conversation)
        self._gaps.release(conversation)
        self._request_missing(conversation)

    def judge_lists(self, conversation: ConversationId, unknown: AbstractSet[AccountId]) -> None:
        """Device lists were fetched, but for those of `unknown`: judge the messages that waited for them."""
        self._opener.lists_fetched(conversation, unknown)

    def _request_missing(self, conversation: ConversationId) -> None:
        """Ask for missing numbers, unless they are on their way already."""
        upto = self._store.conversations.upto(conversation)
        sync = None if upto is None else self._gaps.next_sync(conversation, upto)
        if sync is not None and self._connection is not None:
            self._connection.send(sync)

    def _receive(self, frame: f.ServerFrame) -> None:  # noqa: C901 - one row for each frame
        match frame:
            case f.New():
                self._receive_range(frame.conversation, frame.seq, frame.seq, lambda: self._opener.open(frame))
            case f.Gap():
                self._receive_range(frame.conversation, frame.from_seq, frame.to_seq, lambda: self._store_gap(frame))
            case f.Ack():
                self._on_commit.append(self._outbox.acked(frame))
                self._advance_past_own(frame)
            case f.Joined():
                self._joined(frame)
            case f.DeliveredBy():
                self._receipt(frame.conversation, frame.profile, frame.upto, read=False)
            case f.ReadBy():
                self._receipt(frame.conversation, frame.profile, frame.upto, read=True)
            case f.TypingBy():
                self._events.publish(Typing(frame.conversation, frame.profile, frame.active))
            case f.PresenceOf():
                self._events.publish(Presence(frame.profile, frame.state))
            case f.RefusedFrame():
                self._refused(frame)
            case f.Changed():
                self._changed(frame)
            case f.Welcome() | f.Goaway() | f.Lagging() | f.ProbeEcho():
                pass  # for the connection; and what `lagging` says was dropped is ephemeral

    def _receive_range(self, conversation: ConversationId, first: int, last: int, store: Callable[[], bool]) -> None:
        upto = self._store.conversations.upto(conversation)
        if upto is None or last <= upto:
            return  # not joined yet, or received before
        # Never past a hole: what is confirmed is deleted at the relay, and with it what was before.
        if first > upto + 1 or not store():
            self._gaps.notice(conversation, last)
        else:
            self._store.conversations.advance(conversation, last)
        self._advanced.add(conversation)

    def _advance_past_own(self, ack: f.Ack) -> None:
        """Move past an own number that is the next one. Otherwise a `gap` names it, after what is still on its way.

        A number that no draft was given stays missing: the relay made the ack up, perhaps to hide a message.
        """
        if self._store.conversations.upto(ack.conversation) != ack.seq - 1:
            return
        if self._store.own_numbers.has(ack.conversation, ack.seq):
            self._store.conversations.advance(ack.conversation, ack.seq)
            self._advanced.add(ack.conversation)

    def _store_gap(self, gap: f.Gap) -> bool:
        start = max(gap.from_seq, (self._store.conversations.upto(gap.conversation) or 0) + 1)
        if gap.why is f.GapReason.OWN:
            self._store.own_numbers.add_claim(gap.conversation, start, gap.to_seq)
            self._outbox.settle_own_numbers(gap.conversation)
        elif gap.why is f.GapReason.NOT_FOR_YOU:
            # Not shown, and not believed: the sender's next message says which of its messages were for others.
            self._store.transcript.add_not_for_you(gap.conversation, gap.to_seq - start + 1)
        else:
            self._store.log.add(Gap(gap.conversation, start, gap.to_seq, gap.why))
        return True

    def _joined(self, joined: f.Joined) -> None:
        self._follow_epochs(joined)
        self._joins.joined(joined)
        upto = self._store.conversations.upto(joined.conversation)
        if upto is None:
            self._store.conversations.advance(joined.conversation, joined.from_seq - 1)
            self._store.transcript.add_lost(joined.conversation, joined.from_seq - 1)  # before this device came
        elif upto < joined.from_seq - 1:
            # The server believes this device to be further than it is: the store came from a backup.
            # The reply to a sync names what is gone for good.
            self._gaps.notice(joined.conversation, joined.from_seq - 1)
        self._rosters.note_version(joined.conversation, joined.roster_version)
        self._advanced.add(joined.conversation)
        self._send_read_position(joined.conversation)

    def _follow_epochs(self, joined: f.Joined) -> None:
        """Where the server has lost numbers of before, go back to the last it has kept, and send again what was acked.

        A number that this device has is given to another message then: it would be passed over, and be deleted as
        delivered.
        """
        if not joined.epochs:
            return
        conversation, newest = joined.conversation, joined.epochs[0]
        before = self._store.conversations.epoch(conversation)
        if before is not None and before[0] != newest.epoch:
            epoch, kept = before
            since = list(takewhile(lambda each: each.epoch != epoch, joined.epochs))
            # An epoch that the server does not know is lost itself, and what it had kept when it began is all there is.
            unknown = [kept] if len(since) == len(joined.epochs) else []
            self._lose(conversation, min([each.head for each in since] + unknown))
        if before is None or before[0] != newest.epoch:
            self._store.conversations.put_epoch(conversation, newest.epoch, newest.head)

    def _lose(self, conversation: ConversationId, kept: int) -> None:
        upto = self._store.conversations.upto(conversation)
        if upto is None or upto <= kept:
            return
        self._store.conversations.go_back(conversation, kept)
        self._keychain.withdraw_share(conversation)  # who has not fetched it will never have it
        self._store.transcript.add_lost(conversation, upto - kept)
        self._outbox.send_again(self._store.log.lose(conversation, kept, self._identity.device))
        self._store.log.add(HistoryLost(conversation, kept + 1, upto))
        self._on_commit.append(lambda: self._outbox.wake_sender(conversation))
        self._on_commit.append(self._events.notify)

    def _send_read_position(self, conversation: ConversationId) -> None:
        """Send again how far the person has read, where the relay may not know it."""
        view = self._rosters.known(conversation)
        upto = self._store.conversations.unreported_read(conversation)
        if view is not None and upto is not None:
            own = [member.profile for member in view.members if member.profile in self._profiles]
            for profile in own[:1]:
                self._outbox.send_nowait(f.Read(conversation, profile, upto))

    def _receipt(self, conversation: ConversationId, profile: ProfileId, upto: int, *, read: bool) -> None:
        if profile in self._profiles and read:
            self._store.conversations.mark_read(conversation, upto)
            self._store.log.start_timers(conversation, upto, now_ms())
            self._store.conversations.mark_read_reported(conversation, upto)
        # Positions only grow: the relay repeats the last one at every join.
        moved = self._store.receipts.move(conversation, profile, delivered=upto, read=upto if read else 0)
        if moved:
            self._on_commit.append(lambda: self._events.publish(Receipt(conversation, profile, upto, read)))

    def _refused(self, refused: f.RefusedFrame) -> None:
        if refused.about == SEND:
            self._on_commit.append(lambda: self._outbox.refused(refused))
        elif refused.code in RETRYABLE or refused.retry_after_ms is not None:
            again = self._again(refused)
            self._on_commit.append(lambda: self._background.call_later(refused.retry_after_ms or RETRY_MS, again))
        elif refused.about == SYNC and refused.subject is not None:
            self._gaps.drop(ConversationId(refused.subject))  # nothing can be had there any more
        elif refused.about == JOIN:
            conversation = None if refused.subject is None else ConversationId(refused.subject)
            not_joined = NotJoined(conversation, refused.code.value, refused.detail)
            self._on_commit.append(lambda: self._events.publish(not_joined))

    def _again(self, refused: f.RefusedFrame) -> Callable[[], None]:
        """Return what to do once the relay can be asked again."""
        if refused.subject is None:
            return self._join if refused.about == JOIN else lambda: None
        conversation = ConversationId(refused.subject)
        match refused.about:
            case "sync":
                self._gaps.forget(conversation)
                return lambda: self._request_missing(conversation)
            case "receipt:delivered":
                return lambda: self._confirm(conversation)
            case "receipt:read":
                return lambda: self._send_read_position(conversation)
            case _:
                return lambda: None

    def _join(self) -> None:
        if self._connection is not None:
            self._connection.send(f.Join())

    def _confirm(self, conversation: ConversationId) -> None:
        upto = self._store.conversations.upto(conversation)
        if self._connection is not None and upto:
            self._connection.confirm(conversation, upto)

    def _changed(self, changed: f.Changed) -> None:
        if changed.kind is f.ChangeKind.REQUESTS:
            self._on_commit.append(lambda: self._events.publish(RequestsChanged()))
            self._on_commit.append(self._background.look_at_requests)
        elif changed.kind is f.ChangeKind.KEYS_LOW:
            self._on_commit.append(self._background.refill_prekeys)
        elif changed.conversation is not None:
            self._rosters.note_version(changed.conversation, changed.value)

    def _after_commit(self) -> None:
        """Confirm what is stored, ask for what is missing, wake who waits."""
        for conversation in self._advanced:
            self._confirm(conversation)
            self._request_missing(conversation)
        for action in self._on_commit:
            action()
        if self._advanced:
            self._joins.notify()
            self._events.notify()
