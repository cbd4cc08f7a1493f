"""What a person demands of the log: its keys, and witnesses. And the daily look for newer lists."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.cast import alice_laptop, bob_phone
from tests.contract.transparency.logs import KEYS, PQ_WITNESS, SIGNERS, WITNESS
from tests.varde.endpoints import endpoint
from tests.varde.fake_log import SOMEBODY, FakeLog, listed
from tests.varde.memory_relay import open_clients
from tests.varde.test_transparency import Follower
from varde.errors import ListRollback, LogForked, UnprovenList, Unreachable, VardeError
from varde.events import ForkedLog
from varde.list_lookups import DAY_MS
from varde.log_policy import COSIGNED_SECONDS, SKEW_SECONDS
from varde.transparency import PROOF_MS
from varde_contract.talk import ConversationKind
from varde_contract.transparency.checkpoint import log_signers

BOTH = "\n".join(
    [
        *(f"log {key}" for key in KEYS),
        f"witness one {WITNESS.key}",
        f"witness two {PQ_WITNESS.key}",
        "group both all one two",
        "quorum both",
    ]
)
ONE = BOTH.replace("all one two", "any one two")


def follow(policy: str | None, *cosigners: object) -> Follower:
    """A client with a policy, over a log of three lists that these witnesses cosign."""
    follower = Follower(FakeLog(listed(1), listed(2), listed(3)))
    follower.log.cosigners = cosigners  # type: ignore[assignment]
    follower.transparency.set_policy(policy)
    return follower


async def test_so_many_witnesses_must_have_cosigned() -> None:
    """All of two, or any: one that is missing is one too few, and a policy without quorum asks nobody."""
    for policy, cosigners in ((BOTH, (WITNESS, PQ_WITNESS)), (ONE, (PQ_WITNESS,)), (ONE, (WITNESS,))):
        follower = follow(policy, *cosigners)
        await follower.transparency.demand_witnesses()
        await follower.transparency.demand_witnesses()
        assert follower.log.calls.count("cosigned") == 1, "it is good for an hour"
    for follower in (follow(BOTH, WITNESS), follow(ONE)):
        with pytest.raises(UnprovenList, match="too few witnesses"):
            await follower.transparency.demand_witnesses()
    for nothing in (None, BOTH.replace("quorum both", "quorum none")):
        follower = follow(nothing)
        await follower.transparency.demand_witnesses()
        assert follower.log.calls == []


async def test_a_cosignature_is_good_for_an_hour() -> None:
    """After that the log must have a new one, and until it has, nothing is sent. One from the future is none."""
    follower = follow(ONE, WITNESS)
    await follower.transparency.demand_witnesses()
    follower.log.cosigned = follower.log.cosign()
    follower.log.clock_ms += COSIGNED_SECONDS * 1_000
    with pytest.raises(UnprovenList, match="too few"):
        await follower.transparency.demand_witnesses()
    follower.log.clock_ms += 2 * SKEW_SECONDS * 1_000
    follower.log.cosigned = follower.log.cosign()
    follower.log.clock_ms -= 2 * SKEW_SECONDS * 1_000
    with pytest.raises(UnprovenList, match="too few"):
        await follower.transparency.demand_witnesses()
    follower.log.cosigned = None
    await follower.transparency.demand_witnesses()


async def test_a_log_that_witnesses_have_not_seen_is_a_fork() -> None:
    """A log for one client alone: told loudly, with both notes kept. A smaller one may be a cache that is behind."""
    follower = follow(ONE, WITNESS)
    follower.log.cosigned = follower.log.cosign()
    follower.log.entries[0] = listed(1, digest=99)
    with pytest.raises(LogForked, match="witnesses"):
        await follower.transparency.demand_witnesses()
    assert [type(each) for each in follower.told] == [ForkedLog]
    behind = follow(ONE, WITNESS)
    behind.log.cosigned = behind.log.cosign()
    del behind.log.entries[2:]
    with pytest.raises(UnprovenList, match="older"):
        await behind.transparency.demand_witnesses()
    assert behind.told == []


async def test_what_was_cosigned_is_found_in_a_longer_log() -> None:
    """Witnesses are a minute behind."""
    follower = follow(ONE, WITNESS)
    follower.log.cosigned = follower.log.cosign()
    follower.log.entries += [listed(4), listed(5)]
    await follower.transparency.demand_witnesses()
    assert follower.log.calls[-1] == "consistency"


async def test_a_policy_is_of_one_log() -> None:
    """Keys that it does not name are not believed. Where they are pinned already, the policy is refused."""
    other = FakeLog(listed(1))
    other.signers = log_signers(SIGNERS[0].key.name, b"x" * 32, b"y" * 32)
    follower = Follower(other)
    follower.transparency.set_policy(ONE)
    with pytest.raises(UnprovenList, match="other keys"):
        await follower.transparency.refresh()
    follower.transparency.set_policy(None)
    await follower.transparency.refresh()
    with pytest.raises(UnprovenList, match="other keys"):
        follower.transparency.set_policy(ONE)
    assert follower.transparency.policy() is None
    with pytest.raises(VardeError, match="line 1"):
        follower.transparency.set_policy("nonsense\n")


async def test_a_policy_is_kept(autojump_clock: MockClock) -> None:
    """In the store, which the next run opens; there what it demands is asked for every five minutes."""
    follower = follow(ONE, WITNESS)
    again = Follower(follower.log, follower.store)
    assert again.transparency.policy() == ONE
    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.transparency.run)
        await trio.sleep(1_000)  # of the mocked clock
        assert again.log.calls.count("cosigned") == 1, "what is known is good: this clock stood still"
        nursery.cancel_scope.cancel()
    state = again.store.transparency.state()
    assert state is not None
    assert state.cosigned_time == again.log.clock_ms // 1_000


async def test_without_witnesses_nothing_is_sent(autojump_clock: MockClock) -> None:
    """The error names them. Once they have cosigned, it goes."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        client, log = room.clients[alice], room.relay.transparency
        client.set_log_policy(ONE)
        with pytest.raises(UnprovenList, match="witnesses"):
            await room[alice].send("to nobody")
        log.cosigners = (WITNESS,)
        await room[alice].send("hei")
        client.set_log_policy(None)
        assert client.log_policy is None


async def test_an_old_proof_does_not_stand_for_ever() -> None:
    """A week without a look at the log, and it is looked at again. A clock that was set back makes it no longer."""
    follower = Follower(FakeLog(listed(1)))
    assert await follower.verify(listed(1)) == 1
    follower.log.clock_ms += PROOF_MS - 1
    assert follower.transparency.is_good(*listed(1)[:2])
    assert follower.transparency.proof_age_ms(*listed(1)[:2]) == PROOF_MS - 1
    follower.log.clock_ms += 1
    follower.log.entries.append(listed(2))
    assert not follower.transparency.is_good(*listed(1)[:2])
    assert await follower.verify(listed(1)) == 2
    follower.log.clock_ms -= 2 * PROOF_MS
    again = Follower(follower.log, follower.store)
    again.log.fault = Unreachable("away")
    with pytest.raises(Unreachable):
        await again.verify(listed(1))


async def test_for_first_words_the_log_is_asked_anew(autojump_clock: MockClock) -> None:
    """A proof of yesterday does for messages, whose readers judge them; nobody judges these."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("proven")
        rosters, account = room.clients[alice]._services.rosters, bob.person.account
        assert await rosters.prove_lists(account) == (bob.account.head,)
        room.relay.transparency.entries.append(listed(2, account))
        with pytest.raises(ListRollback):
            await rosters.prove_lists(account)


async def test_each_contact_is_looked_up_once_a_day(autojump_clock: MockClock) -> None:
    """Somewhere between half a day and a day after the last time, and again the next hour where it could not be."""
    alice, bob = endpoint(alice_laptop), endpoint(bob_phone)
    async with open_clients(ConversationKind.DM, alice, bob) as room:
        await room[alice].send("proven")
        log = room.relay.transparency
        lookups = log.calls.count("lookup")
        log.clock_ms += DAY_MS // 2 - 1
        await trio.sleep(2 * 3_600)  # of the mocked clock
        assert log.calls.count("lookup") == lookups
        log.clock_ms += DAY_MS // 2 + 1
        log.fault = Unreachable("away")
        await trio.sleep(2 * 3_600)  # of the mocked clock
        log.fault = None
        failed = log.calls.count("lookup")
        assert failed > lookups
        await trio.sleep(2 * 3_600)  # of the mocked clock
        assert log.calls.count("lookup") == failed + 2, "the two accounts of the roster"
        await wait_all_tasks_blocked()
    assert SOMEBODY not in {entry.account for entry in log.entries}
