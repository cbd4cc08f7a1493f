"""Whatever happens between them, a device sees a conversation in order and whole.

Hypothesis makes up the faults: sends at two nodes, outages, lost answers, a bus that forgets, reconnects.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from domain.talk import model as talk
from tests.cast import alice, alice_laptop, bob, bob_phone, carol, carol_phone
from tests.relay.client import ConnectionClosed, StreamClient
from tests.relay.memory_node import Backend, MemoryNode, Sends, make_backend, open_node, open_room
from varde_contract import frames as f
from varde_contract.ids import ClientId

WRITERS = ((alice, alice_laptop), (bob, bob_phone))


class Story:
    """Two nodes, two who write and one who reads. Each step is one thing that happens."""

    def __init__(self, backend: Backend, stages: tuple[MemoryNode, MemoryNode], roster: talk.Roster) -> None:
        self.backend = backend
        self.stages = stages
        self.roster = roster
        self.sends = Sends()
        self.unacked: list[dict[ClientId, f.Send]] = [{}, {}]
        self.acked: dict[ClientId, int] = {}
        self.received: list[int] = []
        self.writers: list[StreamClient] = []
        self.reader: StreamClient | None = None
        self.at = 0

    async def begin(self) -> None:
        """Connect everybody."""
        self.writers = [
            await node.connect_client(device) for node, (_, device) in zip(self.stages, WRITERS, strict=True)
        ]
        await self.reconnect()

    async def send(self, who: int, count: int) -> None:
        """Let one of the two send some messages, and send again what was not acked before."""
        person, _ = WRITERS[who]
        for _ in range(count):
            frame = self.sends.group(self.roster, person)
            self.unacked[who][frame.client_id] = frame
        await self.writers[who].send(*self.unacked[who].values())

    async def reconnect(self) -> None:
        """Let the reader come back, at the other node, and go on where it was."""
        if self.reader is not None:
            await self.listen()
            await self.reader.abort()
        self.at = 1 - self.at
        try:
            self.reader = await self.stages[self.at].connect_client(carol_phone)
        except ConnectionClosed:
            self.reader = None
            return
        await self.reader.send(f.Join(self.roster.conversation, max(self.received, default=0) + 1))

    async def listen(self) -> None:
        """Take in what everybody was told."""
        for who, writer in enumerate(self.writers):
            for frame in await writer.receive_pending():
                if isinstance(frame, f.Ack):
                    assert self.acked.setdefault(frame.client_id, frame.seq) == frame.seq
                    self.unacked[who].pop(frame.client_id, None)
        for frame in await self.reader.receive_pending() if self.reader else []:
            if isinstance(frame, f.New):
                assert frame.seq == max(self.received, default=0) + 1
                self.received.append(frame.seq)
            assert not isinstance(frame, f.Gap)

    async def outage(self, seconds: int) -> None:
        """Let the database be away."""
        with self.backend.interference.outage():
            await trio.sleep(seconds)  # of an outage, in time that jumps

    async def lose_answers(self, count: int) -> None:
        """Let commits happen whose answers get lost."""
        self.backend.interference.lose_commit_answers(count)

    async def lose_the_bus(self, seconds: int) -> None:
        """Let nobody hear of anything for a while, and then hear that."""
        self.backend.bus.losing = True
        await trio.sleep(seconds)  # of silence, in time that jumps
        self.backend.bus.losing = False
        self.backend.bus.lose_track()

    async def settle(self) -> None:
        """Let the sun come out: everything unacked is sent until it is acked, and everything is read."""
        self.backend.interference.lose_commit_answers(0)
        for _ in range(3):
            await trio.sleep(3)  # longer than the node waits to ask again, in time that jumps
            if self.reader is None:
                await self.reconnect()
            for who in (0, 1):
                if self.unacked[who]:
                    await self.send(who, 0)
            await self.listen()


Step = tuple[str, tuple[Any, ...]]
step_strategy: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("send"), st.tuples(st.integers(0, 1), st.integers(1, 4))),
    st.tuples(st.just("reconnect"), st.just(())),
    st.tuples(st.just("listen"), st.just(())),
    st.tuples(st.just("outage"), st.tuples(st.integers(0, 5))),
    st.tuples(st.just("lose_answers"), st.tuples(st.integers(1, 2))),
    st.tuples(st.just("lose_the_bus"), st.tuples(st.integers(0, 5))),
)


async def play(steps: list[Step]) -> None:
    """Play a story and check its end."""
    backend = make_backend()
    roster = await open_room(backend, alice, bob, carol)
    async with open_node(backend) as one, open_node(backend) as other:
        story = Story(backend, (one, other), roster)
        await story.begin()
        for name, arguments in steps:
            verb: Callable[..., Any] = getattr(story, name)
            await verb(*arguments)
        await story.settle()
        log = backend.memory.talks[roster.conversation].log
        assert story.received == sorted(log) == list(range(1, len(log) + 1))
        assert {draft.client_id: seq for seq, draft in log.items()} == story.acked
        assert not any(story.unacked)


@settings(max_examples=60)
@given(st.lists(step_strategy, max_size=25))
def test_every_acked_message_is_told_once_and_in_order(steps: list[Step]) -> None:
    """Sent until acked, whatever fails: each is stored once, and a reader that comes and goes misses nothing."""
    trio.run(partial(play, steps), clock=MockClock(autojump_threshold=0))
