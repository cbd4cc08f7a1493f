"""The system with fake programs: order of start and stop, restarts, failures, what it promises when it dies.

The real programs are in `test_real_system.py`.
"""

import os
import signal
from dataclasses import replace

import pytest
import trio

from settings.environment import Address
from supervisor.data_lock import FILE, FolderInUse
from supervisor.events import Exited, Killed, LogLine, ProcessEvent, Ready
from supervisor.settings import SystemSettings
from supervisor.supervised import FIRST_STARTS, StartFailed
from supervisor.system import open_system
from tests.supervisor.fake_system import EventRecorder, FakeControl, open_fake_up


async def test_programs_start_in_order_and_stop_in_the_opposite_order(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """Postgres is there before the schema, the schema before the servers; the servers stop before Postgres."""
    async with open_system(settings, recorder.report):
        pass
    url = f"postgresql://fake/{settings.data}/postgres"
    assert control.history() == [
        "start postgres",
        f"migrate {url}",
        "start relay",
        "start api",
        "start worker",
        "SIGTERM worker",
        "SIGTERM api",
        "SIGTERM relay",
        "SIGINT postgres",
    ]


async def test_cancelling_stops_in_the_same_order(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """Ctrl-C cancels everything at once, and still Postgres stops last."""
    with trio.CancelScope() as scope:
        async with open_system(settings, recorder.report):
            scope.cancel()
            await trio.sleep_forever()
    assert control.history()[-3:] == ["SIGTERM api", "SIGTERM relay", "SIGINT postgres"]


async def test_a_database_elsewhere_is_used_and_none_is_started(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """With a URL there is no embedded Postgres, and the programs get that URL."""
    async with open_system(replace(settings, database_url="postgresql://else.where/db"), recorder.report) as system:
        assert system.postgres is None
        assert [kept.program.name for kept in system.programs] == ["relay", "api", "worker"]
    assert control.history()[:2] == ["migrate postgresql://else.where/db", "start relay"]


@pytest.mark.parametrize("name", ["postgres", "relay", "api", "worker"])
async def test_a_killed_program_comes_back_where_it_was(
    name: str, settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """After kill -9 a program is started again at the same address, and that is told in one line each."""
    async with open_system(settings, recorder.report) as system:
        (kept,) = (each for each in system.programs if each.program.name == name)
        pid, address = kept.pid, kept.address
        os.kill(pid, signal.SIGKILL)
        await kept.wait_start(2)
        assert kept.pid != pid
        assert kept.address == address
    (down,) = recorder.of(Exited)
    assert isinstance(down, Exited)
    assert (down.name, down.pid, down.why) == (name, pid, "was killed by SIGKILL")
    assert [up.starts for up in recorder.of(Ready) if isinstance(up, Ready) and up.name == name] == [1, 2]


async def test_the_ports_stay_reserved_while_a_program_is_down(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """Nobody's outgoing connection gets the port of a program that is about to come back."""
    async with open_system(settings, recorder.report) as system:
        port = Address.parse(system.relay.address).port
        control.set_behaviour("relay", "crash")
        os.kill(system.relay.pid, signal.SIGKILL)
        await recorder.wait_count(Exited, 2)
        with trio.socket.socket() as other, pytest.raises(OSError, match="in use"):
            await other.bind(("127.0.0.1", port))
        control.set_behaviour("relay", "")
        await system.relay.wait_start(2)


async def test_a_program_that_never_starts_ends_the_system_with_its_own_words(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """After a few first starts that failed, the failure says what the program said, and the rest is stopped."""
    control.set_behaviour("api", "crash")
    with pytest.raises(StartFailed, match="api did not start: it ended with exit code 7") as caught:
        async with open_system(settings, recorder.report):
            raise AssertionError("the system must not open")
    assert caught.value.said == ("api: something is very wrong",)
    assert control.history().count("start api") == FIRST_STARTS
    assert control.history()[-2:] == ["SIGTERM relay", "SIGINT postgres"]


async def test_a_failing_migration_ends_the_system(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """Servers never start on a schema that could not be brought up to date."""
    control.set_behaviour("migrate", "crash")
    with pytest.raises(StartFailed, match="migrate failed: it ended with exit code 3"):
        async with open_system(settings, recorder.report):
            raise AssertionError("the system must not open")
    assert "start relay" not in control.history()


async def test_hurry_kills_what_does_not_stop(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """The second Ctrl-C does not wait for anybody's patience."""
    kill_now = trio.Event()
    async with open_system(settings, recorder.report, kill_now=kill_now):
        control.set_behaviour("api", "stubborn")
        kill_now.set()
    killed = {each.name for each in recorder.of(Killed) if isinstance(each, Killed)}
    assert "api" in killed


async def test_a_second_system_on_the_same_folder_is_refused(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """Two supervisors on one data folder would fight: the second is told about the first."""
    async with open_system(settings, recorder.report):
        with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
            async with open_system(settings, recorder.report):
                raise AssertionError("the system must not open")


async def test_the_folder_is_private_and_the_system_can_open_again(
    settings: SystemSettings, control: FakeControl, recorder: EventRecorder
) -> None:
    """The data folder is made for its owner only; after a stop the same folder serves again, at once."""
    data = settings.data / "inner"
    for _ in range(2):
        async with open_system(replace(settings, data=data), recorder.report):
            assert data.stat().st_mode & 0o777 == 0o700
            assert (data / FILE).read_text() == f"{os.getpid()}\n"


async def test_a_killed_supervisor_leaves_nothing_behind(settings: SystemSettings, control: FakeControl) -> None:
    """After kill -9 of the supervisor its programs are stopped in order, and the next one waits for that."""
    told: list[ProcessEvent] = []

    def tell(event: ProcessEvent) -> None:
        told.append(event)
        if isinstance(event, LogLine) and event.name == "varde":
            control.set_behaviour("relay", "")

    control.set_behaviour("relay", "slow")
    async with open_fake_up(settings.data) as supervisor:
        supervisor.process.kill()
        await supervisor.process.wait()
        async with open_system(settings, tell):
            history = control.history()
    assert set(history[5:7]) == {"SIGTERM api", "SIGTERM worker"}
    assert history[7:10] == ["SIGTERM relay", "SIGINT postgres", "start postgres"]
    assert told[0] == LogLine("varde", "waiting for what a killed supervisor left behind to stop")
