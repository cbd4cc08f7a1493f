"""The house with stand-in programs: order of start and stop, restarts, failures, what it promises when it dies.

The real programs are in `test_real_house.py`.
"""

import os
import signal
from dataclasses import replace

import pytest
import trio

from settings.environment import Address
from supervisor.happenings import Down, Happening, Killed, Said, Up
from supervisor.house import open_house
from supervisor.keeper import FIRST_STARTS, StartFailed
from supervisor.lock import FILE, FolderInUse
from supervisor.settings import HouseSettings
from tests.supervisor.fake_houses import Ear, Orders, open_fake_up


async def test_programs_start_in_order_and_stop_in_the_opposite_order(
    settings: HouseSettings, orders: Orders, ear: Ear
) -> None:
    """Postgres is there before the schema, the schema before the servers; the servers stop before Postgres."""
    async with open_house(settings, ear.tell):
        pass
    url = f"postgresql://fake/{settings.data}/postgres"
    assert orders.diary() == [
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


async def test_cancelling_stops_in_the_same_order(settings: HouseSettings, orders: Orders, ear: Ear) -> None:
    """Ctrl-C cancels everything at once, and still Postgres stops last."""
    with trio.CancelScope() as scope:
        async with open_house(settings, ear.tell):
            scope.cancel()
            await trio.sleep_forever()
    assert orders.diary()[-3:] == ["SIGTERM api", "SIGTERM relay", "SIGINT postgres"]


async def test_a_database_elsewhere_is_used_and_none_is_started(
    settings: HouseSettings, orders: Orders, ear: Ear
) -> None:
    """With a URL there is no embedded Postgres, and the programs get that URL."""
    async with open_house(replace(settings, database_url="postgresql://else.where/db"), ear.tell) as house:
        assert house.postgres is None
        assert [kept.program.name for kept in house.programs] == ["relay", "api", "worker"]
    assert orders.diary()[:2] == ["migrate postgresql://else.where/db", "start relay"]


@pytest.mark.parametrize("name", ["postgres", "relay", "api", "worker"])
async def test_a_killed_program_comes_back_where_it_was(
    name: str, settings: HouseSettings, orders: Orders, ear: Ear
) -> None:
    """After kill -9 a program is started again at the same address, and that is told in one line each."""
    async with open_house(settings, ear.tell) as house:
        (kept,) = (each for each in house.programs if each.program.name == name)
        pid, address = kept.pid, kept.address
        os.kill(pid, signal.SIGKILL)
        await kept.wait_start(2)
        assert kept.pid != pid
        assert kept.address == address
    (down,) = ear.of(Down)
    assert isinstance(down, Down)
    assert (down.name, down.pid, down.why) == (name, pid, "was killed by SIGKILL")
    assert [up.starts for up in ear.of(Up) if isinstance(up, Up) and up.name == name] == [1, 2]


async def test_the_ports_stay_reserved_while_a_program_is_down(
    settings: HouseSettings, orders: Orders, ear: Ear
) -> None:
    """Nobody's outgoing connection gets the port of a program that is about to come back."""
    async with open_house(settings, ear.tell) as house:
        port = Address.parse(house.relay.address).port
        orders.give("relay", "crash")
        os.kill(house.relay.pid, signal.SIGKILL)
        await ear.wait_count(Down, 2)
        with trio.socket.socket() as other, pytest.raises(OSError, match="in use"):
            await other.bind(("127.0.0.1", port))
        orders.give("relay", "")
        await house.relay.wait_start(2)


async def test_a_program_that_never_starts_ends_the_house_with_its_own_words(
    settings: HouseSettings, orders: Orders, ear: Ear
) -> None:
    """After a few first starts that failed, the failure says what the program said, and the rest is stopped."""
    orders.give("api", "crash")
    with pytest.raises(StartFailed, match="api did not start: it ended with exit code 7") as caught:
        async with open_house(settings, ear.tell):
            raise AssertionError("the house must not open")
    assert caught.value.said == ("api: something is very wrong",)
    assert orders.diary().count("start api") == FIRST_STARTS
    assert orders.diary()[-2:] == ["SIGTERM relay", "SIGINT postgres"]


async def test_a_failing_migration_ends_the_house(settings: HouseSettings, orders: Orders, ear: Ear) -> None:
    """Servers never start on a schema that could not be brought up to date."""
    orders.give("migrate", "crash")
    with pytest.raises(StartFailed, match="migrate failed: it ended with exit code 3"):
        async with open_house(settings, ear.tell):
            raise AssertionError("the house must not open")
    assert "start relay" not in orders.diary()


async def test_hurry_kills_what_does_not_stop(settings: HouseSettings, orders: Orders, ear: Ear) -> None:
    """The second Ctrl-C does not wait for anybody's patience."""
    hurry = trio.Event()
    async with open_house(settings, ear.tell, hurry=hurry):
        orders.give("api", "stubborn")
        hurry.set()
    killed = {each.name for each in ear.of(Killed) if isinstance(each, Killed)}
    assert "api" in killed


async def test_a_second_house_on_the_same_folder_is_refused(settings: HouseSettings, orders: Orders, ear: Ear) -> None:
    """Two supervisors on one data folder would fight: the second is told about the first."""
    async with open_house(settings, ear.tell):
        with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
            async with open_house(settings, ear.tell):
                raise AssertionError("the house must not open")


async def test_the_folder_is_private_and_the_house_can_open_again(
    settings: HouseSettings, orders: Orders, ear: Ear
) -> None:
    """The data folder is made for its owner only; after a stop the same folder serves again, at once."""
    data = settings.data / "inner"
    for _ in range(2):
        async with open_house(replace(settings, data=data), ear.tell):
            assert data.stat().st_mode & 0o777 == 0o700
            assert (data / FILE).read_text() == f"{os.getpid()}\n"


async def test_a_killed_supervisor_leaves_nothing_behind(settings: HouseSettings, orders: Orders) -> None:
    """After kill -9 of the supervisor its programs are stopped in order, and the next one waits for that."""
    told: list[Happening] = []

    def tell(happening: Happening) -> None:
        told.append(happening)
        if isinstance(happening, Said) and happening.name == "varde":
            orders.give("relay", "")

    orders.give("relay", "slow")
    async with open_fake_up(settings.data) as supervisor:
        supervisor.process.kill()
        await supervisor.process.wait()
        async with open_house(settings, tell):
            diary = orders.diary()
    assert set(diary[5:7]) == {"SIGTERM api", "SIGTERM worker"}
    assert diary[7:10] == ["SIGTERM relay", "SIGINT postgres", "start postgres"]
    assert told[0] == Said("varde", "waiting for what a killed supervisor left behind to stop")
