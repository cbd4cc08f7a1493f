"""One peer's way through the log: its listeners that are behind, and the answers to its `sync`."""

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import trio
from msgspec import Struct

from domain.ports import StoreUnavailable
from domain.talk.log import LogGap, LogItem, read_items
from domain.talk.model import LogEntry, LogPage, LogRequest
from domain.talk.sending import NO_CONVERSATION
from relay.cache.log_reader import LogReader
from relay.cache.outage import RETRY
from relay.delivery.hub import Hub, Listener
from relay.frames.refusals import refused_frame
from relay.metrics.counters import Metrics
from relay.metrics.labels import JoinOutcome
from varde_contract.codec import encode_frame
from varde_contract.errors import LocalMisuse
from varde_contract.frames import ChangeKind, Gap, New, Sync
from varde_contract.ids import ConversationId
from varde_contract.limits import SEQ_MAX
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import GapReason

if TYPE_CHECKING:
    from relay.connection.peer import Peer

CONVERSATIONS_AT_ONCE: Final = 16
PAGE_MESSAGES: Final = 256
PAGE_BYTES: Final = 128 * 1024
PAGE_BYTES_LEAST: Final = 4 * 1024

_BEYOND: Final = Refused(RefusalCode.OUT_OF_RANGE, "The conversation has no such number yet.")

Start: TypeAlias = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
"""Starts a task that ends with the connection."""


class Replay(Protocol):
    """Something that reads a conversation on from where it stands."""

    cursor: int
    conversation: ConversationId
    last: int
    """The highest number it wants."""

    def ask(self) -> int:
        """Say how many numbers it wants next, at most: they are being read from now on."""

    def note(self, told: LogItem) -> None:
        """This was told, and is behind `cursor` now."""

    def refuse(self) -> None:
        """The device does not belong to the conversation."""

    def finish(self, page: LogPage) -> bool:
        """Whether it is done, now that everything up to `cursor` was told."""


class CatchUp:
    """A listener that is behind; done when it is live."""

    def __init__(self, listener: Listener, hub: Hub) -> None:
        self.listener = listener
        self._hub = hub
        self._asked_at = 0
        self.joins = 0
        """How often it was joined since it began. Others only fell behind."""
        self.resume = JoinOutcome.LIVE
        """What became of these joins, so far."""
        self.last = SEQ_MAX
        self.conversation = listener.conversation

    @property
    def cursor(self) -> int:
        """The listener's."""
        return self.listener.cursor

    @cursor.setter
    def cursor(self, seq: int) -> None:
        self.listener.cursor = seq

    def ask(self) -> int:
        """A page."""
        self._asked_at = self.listener.head
        return PAGE_MESSAGES

    def note(self, told: LogItem) -> None:
        """Messages had been missed, and perhaps for good."""
        if isinstance(told, LogEntry):
            self.resume = JoinOutcome.CAUGHT_UP if self.resume is JoinOutcome.LIVE else self.resume
        elif told.why is GapReason.EXPIRED:
            self.resume = JoinOutcome.EXPIRED

    def refuse(self) -> None:
        """A member that is none any more, and the bus has not said so."""
        self.resume = JoinOutcome.REFUSED
        self.listener.peer.tell_changed(ChangeKind.MEMBERSHIP, self.conversation, 0)
        self._hub.drop(self.listener.peer, self.conversation)

    def finish(self, page: LogPage) -> bool:
        """Whether there is nothing newer, neither in the log nor published since it was read."""
        if self.listener.peer.listeners.get(self.conversation) is not self.listener:
            self.resume = JoinOutcome.ABANDONED
            return True
        # What was known before the log was read is in it, or it was a false alarm: the log is the truth.
        published = self.listener.head if self.listener.head != self._asked_at else 0
        return self.listener.catch_up(max(page.head, published))


class SyncReplay:
    """A `sync` that is being answered, apart from the live order."""

    def __init__(self, peer: "Peer", frame: Sync, metrics: Metrics) -> None:
        self._peer = peer
        self._frame = frame
        self._metrics = metrics
        self.last = frame.from_seq + frame.limit - 1
        self.conversation = frame.conversation
        self.cursor = frame.from_seq - 1

    def ask(self) -> int:
        """What is left."""
        return min(PAGE_MESSAGES, self.last - self.cursor)

    def note(self, told: LogItem) -> None:
        """Nobody asks."""

    def refuse(self) -> None:
        """The same answer as for a conversation that does not exist."""
        self._refuse(NO_CONVERSATION)

    def finish(self, page: LogPage) -> bool:
        """Whether the range, or the log, is at its end."""
        if self._frame.from_seq > page.head:
            self._refuse(_BEYOND)
            return True
        return self.cursor >= min(self.last, page.head)

    def _refuse(self, refused: Refused) -> None:
        self._metrics.refusals[refused.code] += 1
        self._peer.tell(refused_frame(self._frame, refused))


class Mailbox:
    """Walks all courses of one peer, a few at a time, each in its turn. Its task runs only while there are some."""

    def __init__(self, peer: "Peer", hub: Hub, reading: LogReader, start: Start) -> None:
        self._peer = peer
        self._hub = hub
        self._reading = reading
        self._metrics = reading.metrics
        self._start = start
        self._replays: OrderedDict[ConversationId | int, Replay] = OrderedDict()
        self._running = False
        self._answers = 0

    @property
    def answering(self) -> int:
        """How many `sync` are being answered."""
        return sum(isinstance(replay, SyncReplay) for replay in self._replays.values())

    def listen(self, conversation: ConversationId, cursor: int, head: int) -> None:
        """Let the peer listen from behind `cursor`, or move it there if it listens already."""
        listener = self._peer.listeners.get(conversation)
        if listener is None:
            listener = Listener(self._peer, conversation, self._fall_behind)
            self._hub.listen(listener)
        listener.start(cursor, head)
        replay = self._replays[conversation]
        assert isinstance(replay, CatchUp)
        replay.joins += 1

    def answer(self, frame: Sync) -> None:
        """Answer a `sync`, in its turn."""
        self._answers += 1
        self._put(self._answers, SyncReplay(self._peer, frame, self._metrics))

    def _fall_behind(self, listener: Listener) -> None:
        replay = self._replays.get(listener.conversation)
        if not (isinstance(replay, CatchUp) and replay.listener is listener):
            self._put(listener.conversation, CatchUp(listener, self._hub))

    def _put(self, key: ConversationId | int, replay: Replay) -> None:
        if key in self._replays:
            self._count(self._replays[key], JoinOutcome.ABANDONED)
        self._replays[key] = replay
        if not self._running:
            self._running = True
            self._start(self._run)

    async def _run(self) -> None:
        try:
            while self._replays:
                await self._peer.outbox.wait_room()
                try:
                    await self._step()
                except StoreUnavailable:
                    await trio.sleep(RETRY)
        finally:
            self._running = False
            for replay in self._replays.values():  # there are some only when the connection ends
                self._count(replay, JoinOutcome.ABANDONED)
            self._replays.clear()

    async def _step(self) -> None:
        turn = [
            (key, replay) for (key, replay), _ in zip(self._replays.items(), range(CONVERSATIONS_AT_ONCE), strict=False)
        ]
        requests = [self._request(replay, len(turn)) for _, replay in turn]
        pages = await self._reading.read(requests)
        for (key, replay), request in zip(turn, requests, strict=True):
            if self._replays.get(key) is not replay:
                continue  # the peer left the conversation and came back: another listener is on its way
            # A join again has moved the listener meanwhile: this page is not what it waits for any more.
            moved = replay.cursor + 1 != request.from_seq
            if moved or self._walk(replay, pages.get(request)):
                self._replays.move_to_end(key)
            else:
                del self._replays[key]
                self._count(replay)
        self._peer.outbox.ring()  # once for all pages: what was offered leaves in as few messages as it fits

    def _request(self, replay: Replay, among: int) -> LogRequest:
        share = min(PAGE_BYTES, max(PAGE_BYTES_LEAST, self._peer.outbox.room // among))
        return LogRequest(self._peer.device, replay.conversation, replay.cursor + 1, replay.ask(), share)

    def _walk(self, replay: Replay, page: LogPage | None) -> bool:
        """Tell what fits; whether there is more to come."""
        if page is None:
            replay.refuse()
            return False
        if page.next_seq <= page.from_seq <= page.head:
            raise LocalMisuse("a page of the log makes no progress")
        for told in read_items(page, self._peer.device, replay.last):
            if not self._peer.outbox.offer(*_encode(replay.conversation, told)):
                return True
            if isinstance(told, LogGap):
                replay.cursor = told.to_seq
                self._metrics.gaps[told.why] += told.to_seq - told.from_seq + 1
            else:
                replay.cursor = told.seq
            replay.note(told)
        return not replay.finish(page)

    def _count(self, replay: Replay, resume: JoinOutcome | None = None) -> None:
        if isinstance(replay, CatchUp):
            self._metrics.resumes[resume or replay.resume] += replay.joins


def _encode(conversation: ConversationId, told: LogItem) -> tuple[type[Struct], bytes]:
    if isinstance(told, LogGap):
        return Gap, encode_frame(Gap(conversation, told.from_seq, told.to_seq, told.why))
    assert told.sealed is not None
    return New, encode_frame(
        New(
            conversation=conversation,
            seq=told.seq,
            message=told.message,
            client_id=told.client_id,
            sender_profile=told.profile,
            sender_device=told.device,
            time=told.sent_ms,
            sealed=told.sealed,
        )
    )
