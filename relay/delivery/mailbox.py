"""One peer's reading of the log: its listeners that are behind, and the answers to its `sync`."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import trio
from msgspec import Struct

from domain.ports import StoreUnavailable
from domain.talk.log import LogGap, LogItem, read_items
from domain.talk.model import LogEntry, LogPage, LogRequest
from domain.talk.sending import NO_CONVERSATION
from relay.cache.batched_reads import LogReader
from relay.cache.outage import RETRY
from relay.connection.peer import Listener, Peer
from relay.delivery.hub import Hub, encode_new
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

CONVERSATIONS_AT_ONCE: Final = 16
PAGE_MESSAGES: Final = 256
PAGE_BYTES: Final = 128 * 1024
"""An eighth of an outbox. Conversations that are read together share what room there is."""
PAGE_BYTES_LEAST: Final = 4 * 1024
"""A page has at least one message however large it is, so reading goes on in the fullest outbox."""

_BEYOND: Final = Refused(RefusalCode.OUT_OF_RANGE, "The conversation has no such number yet.")


class Replay(Protocol):
    """A reading of one conversation's log for one peer, from where it is now."""

    cursor: int
    """The last number that was sent."""
    conversation: ConversationId
    last: int
    """The highest number that is wanted."""

    def next_limit(self) -> int:
        """Return how many numbers to read next, at most. They are being read from now on."""

    def note(self, item: LogItem) -> None:
        """Note what was sent; `cursor` is past it."""

    def refuse(self) -> None:
        """End, because the device does not belong to the conversation."""

    def finish(self, page: LogPage) -> bool:
        """Whether it is done, now that everything up to `cursor` was sent."""


class CatchUp:
    """The replay for a listener that is behind; done when the listener is live."""

    def __init__(self, listener: Listener, hub: Hub) -> None:
        self.listener = listener
        self._hub = hub
        self._head_asked = 0
        self.joins = 0
        """How many joins it answers. A listener that only fell behind has none."""
        self.outcome = JoinOutcome.LIVE
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

    def next_limit(self) -> int:
        """Return a page."""
        self._head_asked = self.listener.head
        return PAGE_MESSAGES

    def note(self, item: LogItem) -> None:
        """Note that messages had been missed, and whether they had expired."""
        if isinstance(item, LogEntry):
            self.outcome = JoinOutcome.CAUGHT_UP if self.outcome is JoinOutcome.LIVE else self.outcome
        elif item.why is GapReason.EXPIRED:
            self.outcome = JoinOutcome.EXPIRED

    def refuse(self) -> None:
        """Remove a listener that is no member any more, which the bus has not said yet."""
        self.outcome = JoinOutcome.REFUSED
        peer = self.listener.peer
        if peer.listeners.get(self.conversation) is self.listener:  # else the bus has said it meanwhile
            peer.send_changed(ChangeKind.MEMBERSHIP, self.conversation, 0)
            self._hub.remove_listener(peer, self.conversation)

    def finish(self, page: LogPage) -> bool:
        """Whether there is nothing newer, neither in the log nor published since it was read."""
        if self.listener.peer.listeners.get(self.conversation) is not self.listener:
            self.outcome = JoinOutcome.ABANDONED
            return True
        # A head that was known before the log was read is in the page, or it was a false alarm: the log is the truth.
        # Only one that was published meanwhile may be missing in the page.
        published = self.listener.head if self.listener.head != self._head_asked else 0
        return self.listener.catch_up(max(page.head, published))


class SyncReplay:
    """The replay that answers a `sync`, independent of live delivery."""

    def __init__(self, peer: Peer, frame: Sync, metrics: Metrics) -> None:
        self._peer = peer
        self._frame = frame
        self._metrics = metrics
        self.last = frame.from_seq + frame.limit - 1
        self.conversation = frame.conversation
        self.cursor = frame.from_seq - 1

    def next_limit(self) -> int:
        """Return what is left of the range, up to a page."""
        return min(PAGE_MESSAGES, self.last - self.cursor)

    def note(self, item: LogItem) -> None:
        """Do nothing: only joins are counted by outcome."""

    def refuse(self) -> None:
        """Refuse with the same answer as for a conversation that does not exist."""
        self._refuse(NO_CONVERSATION)

    def finish(self, page: LogPage) -> bool:
        """Whether the range, or the log, is at its end."""
        if self._frame.from_seq > page.head:
            self._refuse(_BEYOND)
            return True
        return self.cursor >= min(self.last, page.head)

    def _refuse(self, refused: Refused) -> None:
        self._metrics.refusals[refused.code] += 1
        self._peer.send(refused_frame(self._frame, refused))


class Mailbox:
    """Runs all replays of one peer, a few at a time in turn. Its task exists only while there are some."""

    def __init__(self, peer: Peer, *, hub: Hub, log_reader: LogReader, served: Callable[[Peer], None]) -> None:
        """`served` is called when the peer has all there was, or does not read as fast as it could be had."""
        self._peer = peer
        self._served = served
        self._hub = hub
        self._log_reader = log_reader
        self._metrics = log_reader.metrics
        self._replays: OrderedDict[ConversationId | int, Replay] = OrderedDict()
        """By conversation for listeners, by a number of its own for each `sync`."""
        self._running = False
        self._syncs = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is being read."""
        return not self._running

    @property
    def answering(self) -> int:
        """How many `sync` are being answered."""
        return sum(isinstance(replay, SyncReplay) for replay in self._replays.values())

    def listen(self, conversation: ConversationId, cursor: int, head: int) -> None:
        """Let the peer listen from behind `cursor`, or move it there if it listens already."""
        listener = self._peer.listeners.get(conversation)
        if listener is None:
            listener = Listener(self._peer, conversation, self._fall_behind)
            self._hub.add_listener(listener)
        listener.start(cursor, head)
        replay = self._replays[conversation]
        assert isinstance(replay, CatchUp)
        replay.joins += 1

    def answer(self, frame: Sync) -> None:
        """Answer a `sync`, in its turn."""
        self._syncs += 1
        self._add(self._syncs, SyncReplay(self._peer, frame, self._metrics))

    def _fall_behind(self, listener: Listener) -> None:
        replay = self._replays.get(listener.conversation)
        if not (isinstance(replay, CatchUp) and replay.listener is listener):
            self._add(listener.conversation, CatchUp(listener, self._hub))

    def _add(self, key: ConversationId | int, replay: Replay) -> None:
        if key in self._replays:
            self._count(self._replays[key], JoinOutcome.ABANDONED)
        self._replays[key] = replay
        if not self._running:
            self._running = True
            self._peer.connection.start_soon(self._run)

    async def _run(self) -> None:
        try:
            while self._replays:
                # Before the log is read: a peer that does not read holds one outbox in memory, and no page besides.
                if not self._peer.outbox.has_room:
                    self._served(self._peer)
                    await self._peer.outbox.wait_room()
                try:
                    await self._run_turn()
                except StoreUnavailable:
                    await trio.sleep(RETRY)
        finally:
            # No checkpoint since the last look at the replays: whoever adds one finds this task at work, or starts
            # another.
            self._running = False
            self._served(self._peer)
            for replay in self._replays.values():  # there are some only when the connection ends
                self._count(replay, JoinOutcome.ABANDONED)
            self._replays.clear()

    async def _run_turn(self) -> None:
        turn = [
            (key, replay) for (key, replay), _ in zip(self._replays.items(), range(CONVERSATIONS_AT_ONCE), strict=False)
        ]
        requests = [self._request(replay, len(turn)) for _, replay in turn]
        pages = await self._log_reader.read(requests)
        for (key, replay), request in zip(turn, requests, strict=True):
            if self._replays.get(key) is not replay:
                continue  # the peer left the conversation and came back: another listener has replaced this one
            # Another join may have moved the listener meanwhile: then this page is not the one it needs.
            moved = replay.cursor + 1 != request.from_seq
            if moved or self._send_page(replay, pages.get(request)):
                self._replays.move_to_end(key)
            else:
                del self._replays[key]
                self._count(replay)
        self._peer.outbox.flush()  # once for all pages, so that they leave in as few Noise messages as possible

    def _request(self, replay: Replay, among: int) -> LogRequest:
        max_bytes = min(PAGE_BYTES, max(PAGE_BYTES_LEAST, self._peer.outbox.room // among))
        return LogRequest(self._peer.device, replay.conversation, replay.cursor + 1, replay.next_limit(), max_bytes)

    def _send_page(self, replay: Replay, page: LogPage | None) -> bool:
        """Queue what the outbox has room for. Whether there is more to come."""
        if page is None:
            replay.refuse()
            return False
        # It would be asked for again and again, with no pause.
        if page.next_seq <= page.from_seq <= page.head:
            raise LocalMisuse("a page of the log makes no progress")
        for item in read_items(page, self._peer.device, replay.last):
            # The rest of the page is dropped and read again: pages that wait for slow peers would be memory without a
            # bound.
            if not self._peer.outbox.offer(*_encode(replay.conversation, item)):
                return True
            if isinstance(item, LogGap):
                replay.cursor = item.to_seq
                self._metrics.gaps[item.why] += item.to_seq - item.from_seq + 1
            else:
                replay.cursor = item.seq
            replay.note(item)
        return not replay.finish(page)

    def _count(self, replay: Replay, outcome: JoinOutcome | None = None) -> None:
        if isinstance(replay, CatchUp):
            self._metrics.joins[outcome or replay.outcome] += replay.joins


def _encode(conversation: ConversationId, item: LogItem) -> tuple[type[Struct], bytes]:
    if isinstance(item, LogGap):
        return Gap, encode_frame(Gap(conversation, item.from_seq, item.to_seq, item.why))
    assert item.ciphertext is not None
    return New, encode_new(conversation, item, item, ciphertext=item.ciphertext)
