"""Where messages become facts: a few writers commit for everybody, one batch each at a time."""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Final, NoReturn

import trio
from msgspec import Struct

from domain.ports import StoreUnavailable
from domain.talk.events import MessagesCommitted
from domain.talk.model import Committed, Draft, Roster, RosterOutdated
from domain.talk.ports import JournalStore
from domain.talk.sending import decide, key_of, stale_devices
from relay.cache.outage import UNAVAILABLE, Outage
from relay.cache.repeats import Repeats
from relay.cache.rosters import Rosters
from relay.connection.peer import Peer
from relay.delivery.hub import Hub, Published
from relay.frames.refusals import refused_frame
from relay.metrics.counters import Metrics
from relay.metrics.labels import JournalRefusal
from relay.socket.flush_scheduler import FlushScheduler
from varde_contract.frames import Ack, Send
from varde_contract.refusals import RefusalCode, Refused

_FULL: Final = Refused(RefusalCode.OVERLOADED, "The node writes as fast as it can. Send again.", retry_after_ms=1_000)


class Limits(Struct, frozen=True):
    """Drafts and bytes of ciphertext waiting in one shard, the same in one batch, and seconds for one commit."""

    queue: int
    queue_bytes: int
    batch: int
    batch_bytes: int
    deadline: float


class Submission:
    """A message on its way: what was asked, by whom, and what was decided upon which roster."""

    __slots__ = ("draft", "frame", "moved", "peer", "roster", "size")

    def __init__(self, peer: Peer, frame: Send, draft: Draft, roster: Roster) -> None:
        self.peer = peer
        self.frame = frame
        self.draft = draft
        self.roster = roster
        self.size = len(draft.group) if draft.group is not None else sum(map(len, (draft.devices or {}).values()))
        self.moved = False
        """Whether the roster moved under it once already."""

    def refuse(self, refused: Refused) -> None:
        """Tell the sender that nothing was stored."""
        self.peer.send(refused_frame(self.frame, refused))


class _Shard:
    """The queue of one writer. A conversation is always in the same one, so its numbers follow the queue's order."""

    def __init__(self) -> None:
        self.posts: deque[Submission] = deque()
        self.size = 0
        """Bytes of ciphertext in all posts that wait."""
        self.busy = False
        self.work = trio.lowlevel.ParkingLot()

    def has_room(self, post: Submission, limits: Limits) -> bool:
        return len(self.posts) < limits.queue and self.size + post.size <= limits.queue_bytes

    def put(self, post: Submission) -> None:
        self.posts.append(post)
        self.size += post.size
        if self.work:
            self.work.unpark_all()

    def put_back(self, posts: Sequence[Submission]) -> None:
        self.posts.extendleft(reversed(posts))
        self.size += sum(post.size for post in posts)

    async def wait(self) -> None:
        while not self.posts:
            await self.work.park()  # without a deadline: there may be nothing to write for ever

    def take(self, limits: Limits) -> list[Submission]:
        batch = [self.posts.popleft()]
        size = batch[0].size
        while self.posts and len(batch) < limits.batch and size + self.posts[0].size <= limits.batch_bytes:
            size += self.posts[0].size
            batch.append(self.posts.popleft())
        self.size -= size
        return batch

    def take_all(self) -> list[Submission]:
        posts, self.posts, self.size = list(self.posts), deque(), 0
        return posts


class Journal:
    """Group commit, one writer per shard of conversations; ack and fan-out are plain calls after it."""

    def __init__(  # noqa: PLR0913 - everything meets here, and each part is named where it is handed in
        self,
        store: JournalStore,
        *,
        rosters: Rosters,
        hub: Hub,
        announce: Callable[[MessagesCommitted], None],
        flush_scheduler: FlushScheduler,
        outage: Outage,
        node: str,
        shards: int,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        """`announce` tells the other nodes, `node` is this one's name."""
        self._store = store
        self._repeats = Repeats(store)
        self._rosters = rosters
        self._hub = hub
        self._announce = announce
        self._flush_scheduler = flush_scheduler
        self._outage = outage
        self._node = node
        self._limits = limits
        self._metrics = metrics
        self._shards = tuple(_Shard() for _ in range(shards))

    @property
    def shards(self) -> range:
        """The numbers to call `run_writer` with."""
        return range(len(self._shards))

    @property
    def idle(self) -> bool:
        """Whether everything that was submitted has its answer."""
        return not any(shard.posts or shard.busy for shard in self._shards)

    @property
    def waiting_drafts(self) -> int:
        """Messages that wait for their batch."""
        return sum(len(shard.posts) for shard in self._shards)

    @property
    def waiting_bytes(self) -> int:
        """Their ciphertext."""
        return sum(shard.size for shard in self._shards)

    def submit_nowait(self, post: Submission) -> Refused | None:
        """Queue a message: it will be acked or refused. Refuses `overloaded`, and `unavailable` during an outage."""
        if self._outage.just_failed:
            self._metrics.journal_refusals[JournalRefusal.OUTAGE] += 1
            return UNAVAILABLE
        shard = self._shards[post.draft.conversation.int % len(self._shards)]
        if not shard.has_room(post, self._limits):
            self._metrics.journal_refusals[JournalRefusal.QUEUE_FULL] += 1
            return _FULL
        shard.put(post)
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
        batch = shard.take(self._limits)
        self._metrics.batch_drafts.observe(len(batch))
        self._metrics.batch_bytes.observe(sum(post.size for post in batch))
        outcomes = await self._commit([post.draft for post in batch])
        if outcomes is None:
            # Who waits behind would only wait for the same. Nobody knows what became of the batch: the same client id
            # again will tell.
            self._turn_away(batch, UNAVAILABLE, JournalRefusal.COMMIT_FAILED)
            self._turn_away(shard.take_all(), UNAVAILABLE, JournalRefusal.STRANDED)
            return
        began = trio.current_time()
        with self._flush_scheduler.gather() if len(batch) > 1 else nullcontext():
            moved = [post for post, outcome in zip(batch, outcomes, strict=True) if not self._settle(post, outcome)]
        self._metrics.fan_out.observe(trio.current_time() - began)
        if moved:
            shard.put_back(await self._decide_again(moved))

    async def _commit(self, drafts: Sequence[Draft]) -> Sequence[Committed | RosterOutdated] | None:
        outcomes = None
        began = trio.current_time()
        with trio.move_on_after(self._limits.deadline), suppress(StoreUnavailable):
            outcomes = await self._store.commit(drafts)
        self._metrics.commits.observe(trio.current_time() - began)
        if outcomes is None:
            self._outage.failed()
        else:
            self._outage.answered()
        return outcomes

    def _settle(self, post: Submission, outcome: Committed | RosterOutdated) -> bool:
        """Ack and fan out what is committed; False when it has to be decided again."""
        if isinstance(outcome, RosterOutdated):
            return False
        # What the sender itself is told of its message, as a listener, leaves together with the ack.
        self._acknowledge(post.peer, post.frame, outcome)
        if not outcome.duplicate:
            self._metrics.committed += 1
            self._hub.publish(Published(post.draft, outcome, post.roster))
        post.peer.outbox.flush()
        return True

    def _acknowledge(self, peer: Peer, frame: Send, outcome: Committed) -> None:
        peer.outbox.put_frame(Ack(frame.client_id, frame.conversation, outcome.message, outcome.seq, outcome.sent_ms))
        if outcome.duplicate:
            self._metrics.duplicates += 1
            # Who sends again may do so because a node died between its commit and its doorbell.
            self._hub.note_head(frame.conversation, outcome.seq)
        self._announce(MessagesCommitted(self._node, frame.conversation, outcome.seq))

    async def ack_again(self, peer: Peer, frame: Send) -> bool:
        """Ack a message that was stored before, whatever is refused now; False when it was not. A checkpoint.

        Raises StoreUnavailable.
        """
        key = key_of(peer.device, frame)
        stored = (await self._repeats.find([key])).get(key)
        if stored is not None:
            self._acknowledge(peer, frame, stored)
            peer.outbox.flush()
        return stored is not None

    async def _decide_again(self, posts: Sequence[Submission]) -> list[Submission]:
        """Judge posts against the rosters as they are now; return those that may try once more, in their order."""
        self._metrics.decided_again += len(posts)
        try:
            rosters = await self._rosters.fetch(list({post.draft.conversation: None for post in posts}))
            refusals = {post: _judge_again(post, rosters.get(post.draft.conversation)) for post in posts}
            refused = [post for post, refusal in refusals.items() if refusal is not None]
            stored = await self._repeats.find([key_of(post.peer.device, post.frame) for post in refused])
        except StoreUnavailable:
            self._outage.failed()
            self._turn_away(posts, UNAVAILABLE, JournalRefusal.STRANDED)
            return []
        for post in refused:
            self._answer_refused(post, refusals[post], stored.get(key_of(post.peer.device, post.frame)))
        return [post for post, refusal in refusals.items() if refusal is None]

    def _answer_refused(self, post: Submission, refusal: Refused | None, stored: Committed | None) -> None:
        assert refusal is not None
        if stored is None:
            self._turn_away([post], refusal, JournalRefusal.ROSTER_MOVED)
        else:  # by another node, since the commit: the sender had asked there first
            self._acknowledge(post.peer, post.frame, stored)

    def _turn_away(self, posts: Sequence[Submission], refused: Refused, why: JournalRefusal) -> None:
        self._metrics.journal_refusals[why] += len(posts)
        self._metrics.refusals[refused.code] += len(posts)
        for post in posts:
            post.refuse(refused)


def _judge_again(post: Submission, roster: Roster | None) -> Refused | None:
    """Judge against the roster as it is now; what may be tried once more is a draft for it from here on."""
    draft = decide(roster, post.peer.sender, post.frame, message=post.draft.message, now_ms=post.draft.sent_ms)
    if isinstance(draft, Refused):
        return draft
    assert roster is not None
    if post.moved:
        # Moving faster than a commit takes: the sender has to look at it again, rather than we for ever.
        return stale_devices(roster.version)
    post.draft, post.roster, post.moved = draft, roster, True
    return None
