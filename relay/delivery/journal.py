"""Group commit: a few writers store the messages of all connections, one batch each at a time."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Final, NoReturn

import trio
from msgspec import Struct

from domain.budgets import Budgets
from domain.ports import StoreUnavailable
from domain.talk.events import MessagesCommitted
from domain.talk.model import Committed, Draft, Roster, RosterOutdated
from domain.talk.ports import JournalStore
from domain.talk.sending import TRIES, decide, key_of, settle_refusals, size_of, stale_devices
from observability.tracing import span
from relay.cache.batched_reads import CommittedMessages
from relay.cache.epochs import Epochs
from relay.cache.outage import UNAVAILABLE, Outage
from relay.cache.rosters import Rosters
from relay.connection.peer import Peer
from relay.delivery.hub import Hub, Published
from relay.frames.refusals import refused_frame
from relay.metrics.counters import Metrics
from relay.metrics.labels import JournalRefusal
from relay.socket.flush_scheduler import FlushScheduler
from varde_contract.frames import Ack, Send
from varde_contract.refusals import RefusalCode, Refused

SHARES: Final = 8
"""One conversation has an eighth of a batch while others wait, in drafts and in bytes."""

_FULL: Final = Refused(RefusalCode.OVERLOADED, "The node writes as fast as it can. Send again.", retry_after_ms=1_000)


class Limits(Struct, frozen=True):
    """Drafts and bytes of ciphertext waiting in one shard, the same in one batch, and seconds for one commit."""

    queue: int
    queue_bytes: int
    batch: int
    batch_bytes: int
    deadline: float


class Submission:
    """A message to be stored: what was asked, by whom, and the draft that a roster allowed."""

    __slots__ = ("draft", "frame", "moves", "peer", "roster", "size")

    def __init__(self, peer: Peer, frame: Send, draft: Draft, roster: Roster) -> None:
        self.peer = peer
        self.frame = frame
        self.draft = draft
        self.roster = roster
        self.size = len(draft.group) if draft.group is not None else size_of(draft)
        self.moves = 0
        """How often the roster changed since it was submitted."""

    def refuse(self, refused: Refused) -> None:
        """Tell the sender that nothing was stored."""
        self.peer.send(refused_frame(self.frame, refused))


class _Shard:
    """The queue of one writer. A conversation is always in the same shard, so its numbers follow the queue's order."""

    def __init__(self, limits: Limits) -> None:
        self.submissions: deque[Submission] = deque()
        self.size = 0
        """Bytes of ciphertext in the queue."""
        self.held: Counter[int] | None = None
        """What each conversation has in the queue, by the number of its id: to hash a UUID takes Python.

        Only counted while the queue is half full: an ordinary message does not pay for it.
        """
        self.least = limits.queue_bytes // limits.queue
        """A draft weighs its bytes, or its part of the queue's bytes where that is more."""
        self.busy = False
        self.work = trio.lowlevel.ParkingLot()

    def has_room(self, submission: Submission, limits: Limits) -> bool:
        count, size = len(self.submissions) + 1, self.size + submission.size
        if count > limits.queue or size > limits.queue_bytes:
            return False
        # Half of the queue is for the others: a conversation that fills its half keeps out only itself. As long as all
        # that waits fits one half, so does each conversation.
        half = limits.queue_bytes // 2
        if size + count * self.least <= half:
            return True
        if self.held is None:
            self.held = Counter()
            for each in self.submissions:
                self._hold(self.held, each)
        return self.held[submission.draft.conversation.int] + max(submission.size, self.least) <= half

    def put(self, submission: Submission) -> None:
        self.submissions.append(submission)
        self.size += submission.size
        if self.held is not None:
            self._hold(self.held, submission)
        if len(self.submissions) == 1:  # the writer waits for nothing else than the first
            self.work.unpark_all()

    def put_back(self, submissions: Sequence[Submission]) -> None:
        # In front, or later messages of the same sender would overtake them. The limits let them in before.
        self.submissions.extendleft(reversed(submissions))
        self.size += sum(submission.size for submission in submissions)
        self.held = None

    def _hold(self, held: Counter[int], submission: Submission) -> None:
        held[submission.draft.conversation.int] += max(submission.size, self.least)

    async def wait(self) -> None:
        while not self.submissions:
            await self.work.park()  # without a deadline: there may be nothing to write for ever

    def take(self, limits: Limits) -> list[Submission]:
        if len(self.submissions) <= limits.batch and self.size <= limits.batch_bytes:
            return self.take_all()  # nearly always: a batch is what came while the one before was written
        self._bring_forward(limits)
        # At least one, however large: a draft beyond the batch's bytes must not wait for ever.
        batch = [self.submissions.popleft()]
        size = batch[0].size
        while self.submissions and len(batch) < limits.batch and size + self.submissions[0].size <= limits.batch_bytes:
            size += self.submissions[0].size
            batch.append(self.submissions.popleft())
        self.size -= size
        self.held = None
        return batch

    def _bring_forward(self, limits: Limits) -> None:
        """Let the first of every conversation, up to its share of the batch, stand before the rest.

        Within a conversation the order stays: its numbers are given in it.
        """
        first, rest = list[Submission](), list[Submission]()
        shares: dict[int, list[int]] = {}
        for submission in self.submissions:
            share = shares.setdefault(submission.draft.conversation.int, [limits.batch, limits.batch_bytes])
            share[0] -= SHARES
            share[1] -= SHARES * submission.size
            (first if min(share) >= 0 else rest).append(submission)
        self.submissions = deque(first + rest)

    def take_all(self) -> list[Submission]:
        submissions, self.submissions, self.size = list(self.submissions), deque(), 0
        self.held = None
        return submissions


class Journal:
    """Stores messages, one writer per shard of conversations. Ack and fan-out are plain calls after each commit.

    Why batches: a commit waits for the disk, and its cost hardly grows with its messages. On the embedded PostgreSQL
    with fsync on, 5,000 messages a second were stored with a p99 of 2.6 ms, and 10,000 with a p99 of 19 ms.
    """

    def __init__(  # noqa: PLR0913 - everything meets here, and each part is named where it is handed in
        self,
        store: JournalStore,
        *,
        rosters: Rosters,
        hub: Hub,
        publish: Callable[[MessagesCommitted], None],
        flush_scheduler: FlushScheduler,
        outage: Outage,
        epochs: Epochs,
        budgets: Budgets,
        node: str,
        shards: int,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        """`publish` tells the other nodes, `node` is this one's name."""
        self._store = store
        self._stored_before = CommittedMessages(store)
        self._rosters = rosters
        self._hub = hub
        self._publish = publish
        self._flush_scheduler = flush_scheduler
        self._outage = outage
        self._epochs = epochs
        self._budgets = budgets
        self._node = node
        self._limits = limits
        self._metrics = metrics
        self._shards = tuple(_Shard(limits) for _ in range(shards))

    @property
    def shards(self) -> range:
        """The numbers to call `run_writer` with."""
        return range(len(self._shards))

    @property
    def idle(self) -> bool:
        """Whether everything that was submitted was answered."""
        return not any(shard.submissions or shard.busy for shard in self._shards)

    @property
    def waiting_drafts(self) -> int:
        """Messages that wait for their batch."""
        return sum(len(shard.submissions) for shard in self._shards)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of their ciphertext."""
        return sum(shard.size for shard in self._shards)

    def submit_nowait(self, submission: Submission) -> Refused | None:
        """Queue a message: it will be acked or refused.

        Refuses `overloaded`, `rate-limited`, and `unavailable` during an outage.
        """
        # Whoever sends now would only wait for a commit that fails, up to its deadline of ten seconds.
        if self._outage.just_failed:
            self._metrics.journal_refusals[JournalRefusal.OUTAGE] += 1
            return UNAVAILABLE
        # Never waits: this runs within the reactor's pass, on behalf of everybody.
        # The last 62 bits of a UUIDv7 are random (RFC 9562 section 5.7), so conversations spread evenly.
        shard = self._shards[submission.draft.conversation.int % len(self._shards)]
        if not shard.has_room(submission, self._limits):
            self._metrics.journal_refusals[JournalRefusal.QUEUE_FULL] += 1
            return _FULL
        # After the queue's limits: what is refused because the node is busy costs the account nothing.
        over = self._budgets.spend_send(submission.peer.sender.account, submission.size, len(submission.roster.devices))
        if over is not None:
            return over
        shard.put(submission)
        return None

    async def run_writer(self, number: int) -> NoReturn:
        """Write one shard for as long as the node lives."""
        shard = self._shards[number]
        while True:
            await shard.wait()
            shard.busy = True
            await self._write(shard)
            shard.busy = False

    async def _write(self, shard: _Shard) -> None:
        waiting = shard.size
        batch = shard.take(self._limits)
        self._metrics.batch_drafts.observe(len(batch))
        self._metrics.batch_bytes.observe(waiting - shard.size)
        outcomes = await self._commit([submission.draft for submission in batch])
        if outcomes is None:
            # Nobody knows whether the batch was stored; sending the same client id again tells. What is queued behind
            # it would only wait for the next failure, so its senders are told at once.
            self._refuse_all(batch, UNAVAILABLE, JournalRefusal.COMMIT_FAILED)
            self._refuse_all(shard.take_all(), UNAVAILABLE, JournalRefusal.STRANDED)
            return
        began = trio.current_time()
        with self._flush_scheduler.gather() if len(batch) > 1 else nullcontext():
            moved = [each for each, outcome in zip(batch, outcomes, strict=True) if not self._settle(each, outcome)]
        self._metrics.fan_out.observe(trio.current_time() - began)
        if moved:
            shard.put_back(await self._decide_again(moved))

    async def _commit(self, drafts: Sequence[Draft]) -> Sequence[Committed | RosterOutdated] | None:
        outcomes = None
        began = trio.current_time()
        with (
            span("commit", messages=len(drafts)),
            trio.move_on_after(self._limits.deadline),
            # Then there are no outcomes, and all senders are told below.
            suppress(StoreUnavailable),
        ):
            outcomes = await self._store.commit(drafts)
            if not self._epochs.check():
                outcomes = None  # stored, under numbers that the senders have for others: they ask again
        self._metrics.commits.observe(trio.current_time() - began)
        if outcomes is None:
            self._outage.failed()
        else:
            self._outage.answered()
        return outcomes

    def _settle(self, submission: Submission, outcome: Committed | RosterOutdated) -> bool:
        """Ack and fan out what was committed; False when it has to be decided again."""
        if isinstance(outcome, RosterOutdated):
            return False
        # The ack only leaves with `flush`: together with the gap that the sender itself gets as a listener.
        self._acknowledge(submission.peer, submission.frame, outcome)
        if not outcome.duplicate:
            self._metrics.committed += 1
            self._hub.publish(Published(submission.draft, outcome, submission.roster))
        submission.peer.outbox.flush()
        return True

    def _acknowledge(self, peer: Peer, frame: Send, outcome: Committed) -> None:
        # A peer that went during the commit takes nothing any more. It asks again under the same client id.
        peer.outbox.put_frame(Ack(frame.client_id, frame.conversation, outcome.message, outcome.seq, outcome.sent_ms))
        if outcome.duplicate:
            self._metrics.duplicates += 1
            # It may be sent again because a node died between its commit and its event on the bus.
            self._hub.note_head(frame.conversation, outcome.seq)
        self._publish(MessagesCommitted(self._node, frame.conversation, outcome.seq))

    async def settle_refusal(self, peer: Peer, frame: Send, refused: Refused) -> Refused | None:
        """Ack a message that was stored before, or return the refusal. A checkpoint. Raises StoreUnavailable."""
        refusals = [(key_of(peer.device, frame), refused)]
        (outcome,) = await settle_refusals(self._stored_before.find, refusals)
        if isinstance(outcome, Refused):
            return outcome
        self._acknowledge(peer, frame, outcome)
        peer.outbox.flush()
        return None

    async def _decide_again(self, submissions: Sequence[Submission]) -> list[Submission]:
        """Check submissions against the rosters as they are now; return those to try once more, in their order."""
        self._metrics.decided_again += len(submissions)
        try:
            rosters = await self._rosters.fetch(list({each.draft.conversation: None for each in submissions}))
            refusals = {each: _check_again(each, rosters.get(each.draft.conversation)) for each in submissions}
            refused = [(each, refusal) for each, refusal in refusals.items() if refusal is not None]
            outcomes = await settle_refusals(
                self._stored_before.find, [(key_of(each.peer.device, each.frame), refusal) for each, refusal in refused]
            )
        except StoreUnavailable:
            self._outage.failed()
            self._refuse_all(submissions, UNAVAILABLE, JournalRefusal.STRANDED)
            return []
        for (submission, _), outcome in zip(refused, outcomes, strict=True):
            if isinstance(outcome, Refused):
                self._refuse_all([submission], outcome, JournalRefusal.ROSTER_MOVED)
            else:  # stored by another node since: the sender had asked there first
                self._acknowledge(submission.peer, submission.frame, outcome)
                submission.peer.outbox.flush()  # nothing else would: later frames line up behind what waits already
        return [each for each, refusal in refusals.items() if refusal is None]

    def _refuse_all(self, submissions: Sequence[Submission], refused: Refused, why: JournalRefusal) -> None:
        self._metrics.journal_refusals[why] += len(submissions)
        self._metrics.refusals[refused.code] += len(submissions)
        for submission in submissions:
            submission.refuse(refused)


def _check_again(submission: Submission, roster: Roster | None) -> Refused | None:
    """Check against the roster as it is now. If the message may be tried once more, its draft is for that roster."""
    draft = decide(
        roster,
        submission.peer.sender,
        submission.frame,
        message=submission.draft.message,
        now_ms=submission.draft.sent_ms,
    )
    if isinstance(draft, Refused):
        return draft
    assert roster is not None
    submission.moves += 1
    if submission.moves == TRIES:
        # The roster changes faster than a commit takes. The sender has to look at it, or we would try for ever.
        return stale_devices(roster.version)
    submission.draft, submission.roster = draft, roster
    return None
