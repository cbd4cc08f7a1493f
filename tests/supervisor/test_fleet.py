"""A fleet of fake relays: one address for all, start and stop, restarts, failures, what it leaves when it dies.

The real relays are in `test_real_fleet.py`.
"""

import os
import signal
from collections import Counter
from dataclasses import replace

import pytest
import trio

from settings.environment import Address, BadAddress
from supervisor.data_lock import open_lock
from supervisor.events import Exited, Killed, LogLine, ProcessEvent
from supervisor.fleet import open_fleet
from supervisor.settings import SystemSettings
from supervisor.supervised import FIRST_STARTS, StartFailed
from tests.supervisor.fake_system import EventRecorder, FakeControl, open_fake_up

TIMEOUT = 30
"""Seconds until a test that hangs is told so."""


@pytest.fixture
def settings(settings: SystemSettings) -> SystemSettings:
    """Three fake programs that are told to use a database elsewhere."""
    return replace(settings, relay_workers=3, database_url="postgresql://else.where/db")


async def test_all_listen_on_one_free_port(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """Port 0 is chosen once, for all of them, and the block begins when the last one is ready."""
    async with open_fleet(settings, recorder.report) as fleet:
        assert {worker.address for worker in fleet.workers} == {fleet.address}
        assert Address.parse(fleet.address).port > 0
        assert len({worker.pid for worker in fleet.workers}) == 3
        assert [worker.program.name for worker in fleet.workers] == ["relay-1", "relay-2", "relay-3"]
        assert fleet.postgres is None
    assert Counter(control.history()) == {"start relay": 3, "SIGTERM relay": 3}


async def test_they_are_stopped_all_at_once(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """None waits for another to have drained: the fleet takes as long as its slowest member."""
    control.set_behaviour("relay", "slow")

    async def let_go() -> None:
        await control.wait_history("SIGTERM relay", 3)
        control.set_behaviour("relay", "")

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_go)
            async with open_fleet(settings, recorder.report):
                pass
    assert not recorder.of(Killed)


async def test_the_embedded_postgres_comes_first_and_goes_last(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """Without a database elsewhere the parent runs one for all of them, and none of them runs its own."""
    async with open_fleet(replace(settings, database_url=None, relay_workers=2), recorder.report) as fleet:
        assert fleet.postgres is not None
    assert control.history() == [
        "start postgres",
        *("start relay", "start relay", "SIGTERM relay", "SIGTERM relay"),
        "SIGINT postgres",
    ]


async def test_one_that_dies_comes_back_beside_the_others(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """The fleet never stays smaller than it was asked to be, and the others do not notice."""
    async with open_fleet(settings, recorder.report) as fleet:
        pids = [worker.pid for worker in fleet.workers]
        os.kill(pids[1], signal.SIGKILL)
        with trio.fail_after(TIMEOUT):
            await fleet.workers[1].wait_start(2)
        assert [worker.pid == pid for worker, pid in zip(fleet.workers, pids, strict=True)] == [True, False, True]
    (down,) = recorder.of(Exited)
    assert isinstance(down, Exited)
    assert (down.name, down.why) == ("relay-2", "was killed by SIGKILL")


async def test_a_worker_that_cannot_start_ends_the_fleet_with_its_words(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """What is wrong for all of them is said by the first one, and the others are not even tried."""
    control.set_behaviour("relay", "crash")
    with pytest.raises(StartFailed, match="relay-1 did not start: it ended with exit code 7") as caught:
        async with open_fleet(settings, recorder.report):
            raise AssertionError("the fleet must not open")
    assert caught.value.said == ("relay: something is very wrong",)
    assert Counter(control.history()) == {"start relay": FIRST_STARTS}


async def test_of_many_failures_one_is_told(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """Workers that fail side by side say the same, and the one that ran is stopped."""

    def tell(event: ProcessEvent) -> None:
        recorder.report(event)
        control.set_behaviour("relay", "crash")  # as soon as the first one is ready

    with pytest.raises(StartFailed, match=r"relay-[23] did not start: it ended with exit code 7"):
        async with open_fleet(settings, tell):
            raise AssertionError("the fleet must not open")
    assert control.history()[-1] == "SIGTERM relay"


async def test_nobody_joins_a_fleet_by_mistake(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """The kernel would spread clients over two installations on one port: the second one is told, and not started."""
    async with open_fleet(settings, recorder.report) as fleet:
        with pytest.raises(BadAddress, match=f"address in use: another program listens at {fleet.address}"):
            async with open_fleet(replace(settings, relay_bind=Address.parse(fleet.address)), recorder.report):
                raise AssertionError("the fleet must not open")
        again = Address.parse(fleet.address)
    async with open_fleet(replace(settings, relay_bind=again, relay_workers=1), recorder.report) as fleet:
        assert fleet.address == str(again)


async def test_a_reload_reaches_every_worker(control: FakeControl) -> None:
    """SIGHUP to the parent stops nothing, and is passed on to all of them."""
    with trio.fail_after(TIMEOUT):
        async with open_fake_up(control.data, workers=2) as fleet:
            fleet.process.send_signal(signal.SIGHUP)
            await control.wait_history("SIGHUP relay", 2)
            fleet.process.send_signal(signal.SIGTERM)
            assert await fleet.process.wait() == 0
    assert Counter(control.history())["SIGTERM relay"] == 2
    assert fleet.lines[-1] == "varde    │ all workers have stopped"


async def test_a_second_signal_kills(control: FakeControl) -> None:
    """Whoever presses Ctrl-C twice does not want to wait for clients to go."""
    control.set_behaviour("relay", "stubborn")
    with trio.fail_after(TIMEOUT):
        async with open_fake_up(control.data, workers=2) as fleet:
            fleet.process.send_signal(signal.SIGINT)
            await control.wait_history("SIGTERM relay", 2)
            fleet.process.send_signal(signal.SIGINT)
            assert await fleet.process.wait() == 0
    assert sum(line.endswith("was killed") for line in fleet.lines) >= 2


async def test_a_killed_parent_leaves_nothing_behind(control: FakeControl, recorder: EventRecorder) -> None:
    """After kill -9 of the parent its workers are stopped all at once, then Postgres; the next one waits for that."""
    control.set_behaviour("relay", "slow")

    async def let_go() -> None:
        await control.wait_history("SIGTERM relay", 2)
        control.set_behaviour("relay", "")

    with trio.fail_after(TIMEOUT):
        async with open_fake_up(control.data, workers=2) as fleet, trio.open_nursery() as nursery:
            fleet.process.kill()
            await fleet.process.wait()
            nursery.start_soon(let_go)
            async with open_lock(control.data, recorder.report):
                assert control.history()[-3:] == ["SIGTERM relay", "SIGTERM relay", "SIGINT postgres"]
    assert [each for each in recorder.of(LogLine) if isinstance(each, LogLine) and each.name == "varde"]
