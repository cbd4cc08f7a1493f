"""The log as a client follows it: what is not proven stops sending, and two histories are told loudly."""

from collections.abc import Callable

import pytest
import trio
from msgspec import structs
from trio.testing import MockClock

from tests.cast import alice_laptop, bob_phone, carol_phone
from tests.contract.transparency.logs import KEYS, SIGNERS
from tests.varde.endpoints import endpoint, memory_store
from tests.varde.fake_log import SOMEBODY, FakeLog, leave_out, listed
from tests.varde.memory_relay import first, open_clients
from varde.clock import fresh_id
from varde.errors import LogForked, NotFound, StoreDamaged, UnprovenList, Unreachable
from varde.events import ForkedLog
from varde.store import Store
from varde.transparency import GRACE_MS, HEARD_MOST, REFRESH_SECONDS, SKEW_SECONDS, STALE_SECONDS, Transparency
from varde_contract.envelope import SeenCheckpoint
from varde_contract.ids import DeviceId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.transparency import LogLookup
from varde_contract.talk import ConversationKind
from varde_contract.transparency.checkpoint import log_signers, open_checkpoint
from varde_contract.transparency.merkle import check_inclusion
from varde_contract.transparency.proof import InclusionProof

MINUTE_MS = 60_000
DEVICE = DeviceId(fresh_id())
LOG = FakeLog(listed(1), listed(2), listed(3))


class Follower:
    """A client over a log, and what it told."""

    def __init__(self, log: FakeLog, store: Store | None = None) -> None:
        self.log = log
        self.store = store or memory_store()
        self.told: list[ForkedLog] = []
        self.transparency = Transparency(self.store, log, self.told.append, log.now_ms)
        self.verify = self.transparency.verify


async def test_the_newest_list_in_the_log_is_looked_up_once() -> None:
    """Then it is known for a week, also after a restart; asked again, the log says whether there is a newer one."""
    follower = Follower(FakeLog(listed(1), listed(2)))
    assert await follower.verify(listed(2)) == 2
    assert await follower.verify(listed(2)) == 2
    assert await Follower(follower.log, follower.store).verify(listed(2)) == 2
    assert follower.log.calls == ["lookup", "keys"]
    follower.log.entries.append(listed(3))
    assert await follower.verify(listed(2), again=True) == 3
    assert follower.log.calls[2:] == ["lookup", "consistency"]
    assert follower.store.transparency.seen() == follower.log.seen()
    assert not follower.transparency.is_good(*listed(2)[:2])
    assert await follower.verify(listed(2)) == 3, "what is old is asked for until the new one is used"


async def test_history_is_read_to_its_end() -> None:
    """Over pages, each entry proven."""
    log = FakeLog(*(listed(number) for number in range(1, 131)))
    found = await Follower(log).transparency.history(SOMEBODY, 3)
    assert [(entry.number, index) for entry, index in found] == [(number, number - 1) for number in range(3, 131)]


async def test_a_proof_stands_alone() -> None:
    """A list of one's own is proven to anybody who has the log's keys; one that is not in the log is not."""
    log = FakeLog(*(listed(number) for number in range(1, 8)))
    follower = Follower(log)
    await follower.verify(listed(5))
    proof = InclusionProof.parse(await follower.transparency.prove(SOMEBODY, 5))
    checkpoint = open_checkpoint(proof.checkpoint.encode(), KEYS).checkpoint
    check_inclusion(proof.index, checkpoint.size, listed(5).leaf(), checkpoint.root, proof.hashes)
    with pytest.raises(UnprovenList, match="no such"):
        await follower.transparency.prove(SOMEBODY, 8)
    shown = [follower.transparency.describe(*each) for each in await follower.transparency.history(SOMEBODY, 4)]
    assert [(each.number, each.known) for each in shown] == [(4, False), (5, True), (6, False), (7, False)]
    assert not follower.transparency.describe(listed(5, digest=99), 4).known


async def test_a_list_may_be_on_its_way_for_a_minute() -> None:
    """Then nothing is sent, until it is there. A clock that goes back does not make the minute longer."""
    follower = Follower(FakeLog(listed(1)))
    assert await follower.verify(listed(2)) is None
    follower.log.clock_ms += GRACE_MS - 1
    assert await follower.verify(listed(2)) is None
    follower.log.clock_ms += 1
    with pytest.raises(UnprovenList, match="a minute after"):
        await follower.verify(listed(2))
    follower.log.clock_ms -= 2 * GRACE_MS
    with pytest.raises(UnprovenList, match="a minute after"):
        await follower.verify(listed(2))
    follower.log.entries.append(listed(2))
    assert await follower.verify(listed(2)) == 2


async def test_a_log_without_a_checkpoint_proves_nothing() -> None:
    """The same minute; a server that does not answer is another matter."""
    follower = Follower(FakeLog())
    follower.log.fault = NotFound(RefusalCode.NOT_FOUND, "nothing was signed")
    assert await follower.verify(listed(1)) is None
    follower.log.clock_ms += MINUTE_MS
    with pytest.raises(UnprovenList):
        await follower.verify(listed(1))
    follower.log.fault = Unreachable("away")
    with pytest.raises(Unreachable):
        await follower.verify(listed(2))


def wrong_proof(lookup: LogLookup) -> LogLookup:
    """One hash of a proof is another."""
    first = lookup.entries[0]
    return structs.replace(lookup, entries=(structs.replace(first, proof=(bytes(32), *first.proof[1:])),))


def wrong_place(lookup: LogLookup) -> LogLookup:
    """A list is said to be at another place."""
    return structs.replace(lookup, entries=(structs.replace(lookup.entries[0], index=0), *lookup.entries[1:]))


def wrong_digest(lookup: LogLookup) -> LogLookup:
    """A list is said to be another."""
    return structs.replace(lookup, entries=(structs.replace(lookup.entries[0], digest=bytes(32)),))


def no_signature(lookup: LogLookup) -> LogLookup:
    """The log's second key has not signed."""
    return structs.replace(lookup, checkpoint="\n".join(lookup.checkpoint.split("\n")[:-2]) + "\n")


def no_note(lookup: LogLookup) -> LogLookup:
    """Something else than a checkpoint."""
    return structs.replace(lookup, checkpoint="hello")


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (wrong_proof, "proof of a device list is wrong"),
        (wrong_place, "proof of a device list is wrong"),
        (wrong_digest, "proof of a device list is wrong"),
        (leave_out(3), "leaves out"),
        (leave_out(2), "leaves out"),
        (no_signature, "not signed with the keys"),
        (no_note, "not signed with the keys"),
    ],
)
async def test_a_wrong_answer_stops_sending(lie: Callable[[LogLookup], LogLookup], why: str) -> None:
    """At once, and nothing of it is kept."""
    follower = Follower(FakeLog(*(listed(number) for number in range(1, 5))))
    await follower.transparency.refresh()
    before = follower.store.transparency.seen()
    follower.log.lie = lie
    with pytest.raises(UnprovenList, match=why):
        await follower.verify(listed(2))
    assert follower.store.transparency.seen() == before
    follower.log.lie = lambda lookup: lookup
    assert await follower.verify(listed(2)) == 4
    assert follower.told == []


async def test_another_list_than_the_logged_one_is_refused() -> None:
    """Whether the log or the server showed it first."""
    follower = Follower(FakeLog(listed(1), listed(2)))
    with pytest.raises(UnprovenList, match="another device list is in the transparency log"):
        await follower.verify(listed(2, digest=99))
    assert await follower.verify(listed(1)) == 2
    with pytest.raises(UnprovenList, match="two different device lists"):
        await follower.verify(listed(1, digest=99))


@pytest.mark.parametrize("off_ms", [-STALE_SECONDS * 1_000 - 2_000, STALE_SECONDS * 1_000 + 2_000])
async def test_a_stale_checkpoint_proves_nothing(off_ms: int) -> None:
    """A server that stopped the log for one client hides what came after; the advice names the other explanation."""
    follower = Follower(FakeLog(listed(1)))
    follower.log.signed_ms = follower.log.clock_ms + off_ms
    with pytest.raises(UnprovenList, match="not of now") as caught:
        await follower.verify(listed(1))
    assert "clock" in caught.value.advice
    follower.log.signed_ms = None
    assert await follower.verify(listed(1)) == 1


def forked(log: FakeLog) -> None:
    """Another history with as many entries."""
    log.entries[0] = listed(1, digest=99)


def forked_and_longer(log: FakeLog) -> None:
    """Another history that went on."""
    forked(log)
    log.entries += [listed(4), listed(5)]


def rolled_back(log: FakeLog) -> None:
    """The end was cut off, and that was signed later."""
    del log.entries[2:]
    log.clock_ms += (SKEW_SECONDS + 2) * 1_000


@pytest.mark.parametrize("lie", [forked, forked_and_longer, rolled_back])
async def test_two_histories_are_told_loudly(lie: Callable[[FakeLog], None]) -> None:
    """As event and error; nothing is used any more, also after a restart, and both signed notes are kept as proof."""
    log = FakeLog(listed(1), listed(2), listed(3))
    follower = Follower(log)
    assert await follower.verify(listed(2)) == 3
    lie(log)
    with pytest.raises(LogForked) as caught:
        await follower.transparency.refresh()
    assert follower.told == [ForkedLog(str(caught.value))]
    state = follower.store.transparency.state()
    assert state is not None
    assert state.forked is not None
    ours, theirs = (open_checkpoint(note, KEYS).checkpoint for note in state.forked[1:])
    assert ours != theirs
    again = Follower(log, follower.store)
    for call in (lambda: again.verify(listed(2)), again.transparency.refresh):
        with pytest.raises(LogForked):
            await call()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.transparency.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert again.told == follower.told
    again.transparency.forget()
    assert await again.verify(log.entries[1]) is not None
    assert again.store.transparency.past() == [state]  # the proof outlives the decision to go on


async def test_an_older_checkpoint_is_not_believed_and_is_no_fork() -> None:
    """A cache may be behind by some seconds."""
    log = FakeLog(listed(1), listed(2))
    follower = Follower(log)
    await follower.transparency.refresh()
    del log.entries[1:]
    with pytest.raises(UnprovenList, match="an older checkpoint"):
        await follower.transparency.refresh()
    assert follower.told == []
    log.entries.append(listed(2))
    assert (await follower.transparency.refresh()).size == 2


async def test_another_log_is_not_believed() -> None:
    """Its keys were pinned; one that does not have both kinds is not pinned."""
    log = FakeLog(listed(1))
    log.signers = SIGNERS[:1]
    follower = Follower(log)
    with pytest.raises(UnprovenList, match="two keys"):
        await follower.transparency.refresh()
    log.keys_text = "hello"
    with pytest.raises(UnprovenList, match="two keys"):
        await follower.transparency.refresh()
    log.keys_text = None
    log.signers = SIGNERS
    await follower.transparency.refresh()
    log.signers = log_signers(SIGNERS[0].key.name, b"x" * 32, b"y" * 32)
    with pytest.raises(UnprovenList, match="keys that were pinned"):
        await follower.transparency.refresh()


async def test_a_pin_that_was_deleted_is_damage() -> None:
    """Not a first use: the next log would be believed."""
    follower = Follower(FakeLog(listed(1)))
    await follower.verify(listed(1))
    with follower.store.transaction():
        follower.store.transparency._database.run("DELETE FROM log_state")
    with pytest.raises(StoreDamaged):
        await follower.transparency.refresh()


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        (LOG.seen(), False),
        (LOG.seen(2), False),
        (LOG.seen(0), False),
        (None, False),
        (SeenCheckpoint(2, bytes(32)), True),
        (SeenCheckpoint(3, bytes(32)), True),
        (SeenCheckpoint(0, bytes(32)), True),
        (SeenCheckpoint(99, bytes(32)), True),
    ],
)
async def test_what_others_saw_is_compared(heard: SeenCheckpoint | None, *, told: bool) -> None:
    """Once; another log is told with the device that saw it, and stops nothing: it may have been made up."""
    follower = Follower(LOG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.transparency.run)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            follower.transparency.hear(heard, DEVICE)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert follower.told == ([ForkedLog("another device has seen another log", DEVICE)] if told else [])
    assert await follower.verify(listed(2)) == 3


@pytest.mark.parametrize("kind", [ConversationKind.DM, ConversationKind.GROUP])
async def test_members_tell_each_other_what_they_saw(kind: ConversationKind, autojump_clock: MockClock) -> None:
    """Every message carries the sender's checkpoint: who is shown another log learns it from the next message."""
    hers, his, carols = endpoint(alice_laptop), endpoint(bob_phone), endpoint(carol_phone)
    honest, other = FakeLog(listed(1), listed(2)), FakeLog(listed(1, digest=99), listed(2), listed(3))
    logs = {hers.id: honest, carols.id: honest, his.id: other}
    members = (hers, his) if kind is ConversationKind.DM else (hers, his, carols)
    async with open_clients(kind, *members, logs=logs) as room:
        events = [room.clients[each].events() for each in members]
        await room[hers].send("hei")
        assert await first(events[1], ForkedLog) == ForkedLog("another device has seen another log", hers.id)
        await room[his].send("hva?")
        assert await first(events[0], ForkedLog) == ForkedLog("another device has seen another log", his.id)


async def test_a_forked_log_stops_sending(autojump_clock: MockClock) -> None:
    """Also to those whose lists were proven before."""
    hers, his = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, hers, his) as room:
        await room[hers].send("proven")
        log = room.relay.transparency
        await room.clients[hers]._services.transparency.refresh()
        log.entries.reverse()
        with pytest.raises(LogForked):
            await room.clients[hers]._services.transparency.refresh()
        with pytest.raises(LogForked):
            await room[hers].send("nothing")


async def test_what_was_heard_while_the_server_was_away_is_heard_again() -> None:
    """Nothing is known of it until it was compared; and of very many, those that came first are forgotten."""
    log = FakeLog(listed(1), listed(2))
    follower = Follower(log)
    wrong = SeenCheckpoint(1, bytes(32))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.transparency.run)
        await trio.testing.wait_all_tasks_blocked()
        log.fault = Unreachable("away")
        follower.transparency.hear(wrong, DEVICE)
        await trio.testing.wait_all_tasks_blocked()
        assert follower.told == []
        log.fault = None
        follower.transparency.hear(wrong, DEVICE)
        await trio.testing.wait_all_tasks_blocked()
        assert len(follower.told) == 1
        nursery.cancel_scope.cancel()
    for size in range(2_000):  # nobody takes them up any more, and that must not grow without end
        follower.transparency.hear(SeenCheckpoint(size + 10, bytes(32)), DEVICE)
    assert len(follower.transparency._heard) < 100


async def test_of_very_much_the_newest_is_remembered() -> None:
    """What was compared long ago would be compared again, and that is all."""
    follower = Follower(LOG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.transparency.run)
        await trio.testing.wait_all_tasks_blocked()
        for size in range(HEARD_MOST + 5):
            follower.transparency.hear(SeenCheckpoint(0, size.to_bytes(32)), DEVICE)
            if size % 50 == 0:
                await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(follower.transparency._heard) == HEARD_MOST


async def test_a_log_that_is_at_fault_is_not_blamed_on_a_member() -> None:
    """What somebody saw cannot be compared with a log that is stale."""
    follower = Follower(FakeLog(listed(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.transparency.run)
        await trio.testing.wait_all_tasks_blocked()
        follower.log.signed_ms = 0
        follower.transparency.hear(SeenCheckpoint(9, bytes(32)), DEVICE)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert follower.told == []


async def test_the_checkpoint_is_kept_fresh(autojump_clock: MockClock) -> None:
    """Every five minutes, an outage or a stale log or not."""
    log = FakeLog(listed(1))
    follower = Follower(log)
    async with trio.open_nursery() as nursery:
        log.fault = Unreachable("away")
        nursery.start_soon(follower.transparency.run)
        await trio.sleep(30)  # of the mocked clock
        assert follower.store.transparency.seen() is None
        log.fault = None
        for number in range(2, 5):
            await trio.sleep(REFRESH_SECONDS)  # of the mocked clock
            assert follower.store.transparency.seen() == log.seen()
            log.entries.append(listed(number))
        log.signed_ms = 0
        await trio.sleep(2 * REFRESH_SECONDS)  # of the mocked clock
        log.signed_ms = None
        await trio.sleep(REFRESH_SECONDS)  # of the mocked clock
        assert follower.store.transparency.seen() == log.seen()
        nursery.cancel_scope.cancel()
