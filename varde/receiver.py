"""What the relay says, taken in: the frames of one message in one transaction, in order, each number exactly once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from varde.clock import now_ms
from varde.crypto.faults import CannotOpen
from varde.happenings import Gap, Message, Presence, Reason, Receipt, Typing, Undecryptable, at
from varde.holes import Holes
from varde.line import Line
from varde.services import Services
from varde_contract import frames as f
from varde_contract.envelope import Envelope, Text
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.refusals import RefusalCode

SYNC, SEND, JOIN = (f.tag_of(kind) for kind in (f.Sync, f.Send, f.Join))
NOT_NOW = frozenset({RefusalCode.RATE_LIMITED, RefusalCode.UNAVAILABLE, RefusalCode.OVERLOADED})
RETRY_MS = 1_000


class _Who(NamedTuple):
    """A sender as a message names it."""

    conversation: ConversationId
    device: DeviceId
    profile: ProfileId


class Errands(Protocol):
    """What takes time, and is therefore done by tasks of the client. None of these waits."""

    def look_up(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        """Find out whose device this is, then call `Receiver.release`."""

    def later(self, after_ms: int, action: Callable[[], None]) -> None:
        """Wait, then do it."""

    def fill_keys(self) -> None:
        """Upload prekeys."""


class Receiver:
    """Takes in frames for one client. What must wait for the commit is done right after it."""

    def __init__(self, services: Services, errands: Errands) -> None:
        self._me = services.me
        self._profiles = frozenset(profile.id for profile in services.me.profiles)
        self._store = services.store
        self._keychain = services.keychain
        self._rosters = services.rosters
        self._post = services.post
        self._stream = services.stream
        self._errands = errands
        self._line: Line | None = None
        self._holes = Holes()
        self._looking: set[_Who] = set()
        self._looked_up: dict[_Who, Reason] = {}
        self._moved: set[ConversationId] = set()
        self._after: list[Callable[[], None]] = []

    def begin(self, line: Line) -> None:
        """A new connection: listen to everything."""
        self._line = line
        self._holes.clear()
        self._join()

    def end(self) -> None:
        """The connection is gone."""
        self._line = None
        self._holes.clear()

    def take(self, frames: Sequence[f.ServerFrame]) -> None:
        """Take in the frames of one message, all of them or none."""
        try:
            # A message must be on the disk before it is confirmed. All else would be said again: an ack by sending the
            # same bytes again, a receipt or a position by the next one.
            with self._store.transaction(durable=any(isinstance(frame, f.New) for frame in frames)):
                for frame in frames:
                    self._take(frame)
            self._settle()
        finally:
            self._moved.clear()
            self._after.clear()

    def release(
        self,
        conversation: ConversationId,
        device: DeviceId,
        profile: ProfileId,
        reason: Reason = Reason.UNKNOWN_SENDER,
    ) -> None:
        """The sender was looked up: what was held back can be judged now, with `reason` where it is still unknown."""
        self._looking.discard(_Who(conversation, device, profile))
        self._looked_up[_Who(conversation, device, profile)] = reason
        self._holes.release(conversation)
        self.ask(conversation)

    def ask(self, conversation: ConversationId) -> None:
        """Ask for what is missing, unless that was done."""
        upto = self._store.conversations.upto(conversation)
        sync = None if upto is None else self._holes.next_sync(conversation, upto)
        if sync is not None and self._line is not None:
            self._line.send(sync)

    def _take(self, frame: f.ServerFrame) -> None:  # noqa: C901 - one row for each frame
        match frame:
            case f.New():
                self._take_number(frame.conversation, frame.seq, frame.seq, lambda: self._open(frame))
            case f.Gap():
                self._take_number(frame.conversation, frame.from_seq, frame.to_seq, lambda: self._keep_gap(frame))
            case f.Ack():
                self._after.append(self._post.acked(frame))
                self._pass_own(frame)
            case f.Joined():
                self._joined(frame)
            case f.DeliveredBy():
                self._receipt(frame.conversation, frame.profile, frame.upto, read=False)
            case f.ReadBy():
                self._receipt(frame.conversation, frame.profile, frame.upto, read=True)
            case f.TypingBy():
                self._stream.tell(Typing(frame.conversation, frame.profile, frame.active))
            case f.PresenceOf():
                self._stream.tell(Presence(frame.profile, frame.state))
            case f.RefusedFrame():
                self._refused(frame)
            case f.Changed():
                self._changed(frame)
            case f.Welcome() | f.Goaway() | f.Lagging():
                pass  # the line's affair; and what was dropped was never to be kept

    def _take_number(self, conversation: ConversationId, first: int, last: int, keep: Callable[[], bool]) -> None:
        upto = self._store.conversations.upto(conversation)
        if upto is None or last <= upto:
            return  # not joined, or taken in before
        if first > upto + 1 or not keep():
            self._holes.notice(conversation, last)
        else:
            self._store.conversations.move(conversation, last)
        self._moved.add(conversation)

    def _pass_own(self, ack: f.Ack) -> None:
        """Count an own number that is the next one. Otherwise its turn comes as a `gap`, behind what is on its way.

        A number that no draft was given is a hole: the ack was made up, perhaps to hide a message.
        """
        if self._store.conversations.upto(ack.conversation) != ack.seq - 1:
            return
        if self._store.own_numbers.has(ack.conversation, ack.seq):
            self._store.conversations.move(ack.conversation, ack.seq)
            self._moved.add(ack.conversation)

    def _open(self, new: f.New) -> bool:
        """Keep what a message says, or why it cannot be opened; False when its sender must be looked up first."""
        try:
            envelope = self._keychain.open(new)
        except CannotOpen as fault:
            reason = fault.reason
            if reason is Reason.UNKNOWN_SENDER:
                if self._may_look_up(new):
                    return False
                reason = self._looked_up[_who(new)]
            self._keep_closed(new, reason)
            return True
        if isinstance(envelope.body, Text) and not self._store.log.add(self._message(new, envelope, envelope.body)):
            self._keep_closed(new, Reason.REPLAYED)
        return True

    def _may_look_up(self, new: f.New) -> bool:
        who = _who(new)
        if who in self._looked_up:
            return False
        # Also when it comes again meanwhile, perhaps on another connection: only the answer decides.
        self._holes.hold(new.conversation)
        if who not in self._looking:
            self._looking.add(who)
            self._after.append(lambda: self._errands.look_up(*who))
        return True

    def _keep_closed(self, new: f.New, reason: Reason) -> None:
        self._store.log.add(Undecryptable(new.conversation, new.seq, reason))
        if self._keychain.mend(new, reason, now_ms()):
            self._after.append(lambda: self._post.stir(new.conversation))

    def _message(self, new: f.New, envelope: Envelope, body: Text) -> Message:
        return Message(
            conversation=new.conversation,
            seq=new.seq,
            client_id=new.client_id,
            profile=new.sender_profile,
            device=new.sender_device,
            account=envelope.account,
            text=body.text,
            written=at(envelope.written_ms),
            received=at(new.time),
            mine=envelope.account == self._me.account,
        )

    def _keep_gap(self, gap: f.Gap) -> bool:
        start = max(gap.from_seq, (self._store.conversations.upto(gap.conversation) or 0) + 1)
        if gap.why is f.GapReason.OWN:
            self._store.own_numbers.claim(gap.conversation, start, gap.to_seq)
            self._post.explain(gap.conversation)
        else:
            self._store.log.add(Gap(gap.conversation, start, gap.to_seq, gap.why))
        return True

    def _joined(self, joined: f.Joined) -> None:
        upto = self._store.conversations.upto(joined.conversation)
        if upto is None:
            self._store.conversations.move(joined.conversation, joined.from_seq - 1)
        elif upto < joined.from_seq - 1:
            # The server holds this device for further than it is: a store from a backup. It will say what is gone.
            self._holes.notice(joined.conversation, joined.from_seq - 1)
        self._rosters.note(joined.conversation, joined.roster_version)
        self._moved.add(joined.conversation)
        self._tell_read(joined.conversation)

    def _tell_read(self, conversation: ConversationId) -> None:
        """Say again how far the person has read, where the relay may not have heard it."""
        view = self._rosters.known(conversation)
        upto = self._store.conversations.read_to_tell(conversation)
        if view is not None and upto is not None:
            own = [member.profile for member in view.members if member.profile in self._profiles]
            for profile in own[:1]:
                self._post.tell(f.Read(conversation, profile, upto))

    def _receipt(self, conversation: ConversationId, profile: ProfileId, upto: int, *, read: bool) -> None:
        if profile in self._profiles and read:
            self._store.conversations.mark_read(conversation, upto)
            self._store.conversations.read_heard(conversation, upto)
        moved = self._store.receipts.move(conversation, profile, delivered=upto, read=upto if read else 0)
        if moved:
            self._after.append(lambda: self._stream.tell(Receipt(conversation, profile, upto, read)))

    def _refused(self, refused: f.RefusedFrame) -> None:
        if refused.about == SEND:
            self._after.append(lambda: self._post.refused(refused))
        elif refused.code in NOT_NOW or refused.retry_after_ms is not None:
            again = self._again(refused)
            self._after.append(lambda: self._errands.later(refused.retry_after_ms or RETRY_MS, again))
        elif refused.about == SYNC and refused.subject is not None:
            self._holes.drop(ConversationId(refused.subject))  # there is nothing to be had here any more

    def _again(self, refused: f.RefusedFrame) -> Callable[[], None]:
        """What to do when the relay could not do something just now."""
        if refused.subject is None:
            return self._join if refused.about == JOIN else lambda: None
        conversation = ConversationId(refused.subject)
        match refused.about:
            case "sync":
                self._holes.forget(conversation)
                return lambda: self.ask(conversation)
            case "receipt:delivered":
                return lambda: self._confirm(conversation)
            case "receipt:read":
                return lambda: self._tell_read(conversation)
            case _:
                return lambda: None

    def _join(self) -> None:
        if self._line is not None:
            self._line.send(f.Join())

    def _confirm(self, conversation: ConversationId) -> None:
        upto = self._store.conversations.upto(conversation)
        if self._line is not None and upto:
            self._line.confirm(conversation, upto)

    def _changed(self, changed: f.Changed) -> None:
        if changed.kind is f.ChangeKind.KEYS_LOW:
            self._after.append(self._errands.fill_keys)
        elif changed.conversation is not None:
            self._rosters.note(changed.conversation, changed.value)

    def _settle(self) -> None:
        """The transaction is committed: confirm what is held, ask for what is missing, tell who waits."""
        for conversation in self._moved:
            self._confirm(conversation)
            self.ask(conversation)
        for action in self._after:
            action()
        if self._moved:
            self._stream.stir()


def _who(new: f.New) -> _Who:
    return _Who(new.conversation, new.sender_device, new.sender_profile)
