"""The durable servers themselves: real Mosquitto, the real system of Varde."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.durable.load import Due, Load, Open
from bench.durable.measure import SERVERS, counts_of, measure_durable, measure_survival
from bench.durable.mosquitto import find_program
from bench.run import Options
from bench.server import VARDE, Missing, tree_of
from loadtest.stack.process import runs
from tests.system import require

DEADLINE = 60.0
CONNECTIONS = 4
MESSAGES = 10


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres may pass through, as another user: pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="varde-") as name:
        yield Path(name)


@pytest.mark.parametrize("name", [name for name in SERVERS if name != VARDE])
def test_a_server_passes_messages_and_is_gone_afterwards(name: str, folder: Path) -> None:
    """It starts in a folder of its own, ten messages are acked and come in order, and nothing of it is left running."""
    require("/usr/sbin/mosquitto", "mosquitto")
    pass_messages(SERVERS[name], folder)


def pass_messages(open_server: Open, folder: Path) -> None:
    """Send ten messages through the server, from everybody."""
    with open_server(folder, CONNECTIONS) as server, Load(server, CONNECTIONS) as load:
        load.connect(range(CONNECTIONS))
        load.run((Due(0, number % CONNECTIONS) for number in range(MESSAGES)), time.monotonic_ns())
        account = counts_of(load.settle(DEADLINE))
        running = [each.pid for pid in server.pids.values() for each in tree_of(pid)]
    assert {name: count for name, count in account.items() if count} == dict.fromkeys(
        ("sent", "acked", "received"), MESSAGES
    )
    assert running
    assert not list(filter(runs, running))


@pytest.mark.xdist_group("system")
def test_what_varde_acked_survives_the_death_of_all_its_processes() -> None:
    """Relay and Postgres are killed with SIGKILL under load; who was away finds every message that was acked."""
    kept = measure_survival(SERVERS[VARDE], seconds=0.5)
    assert kept["acked"] > 0
    assert kept["lost_after_ack"] == 0


def test_a_missing_server_is_in_the_result_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no figure, there are words about what to install, and the run goes on."""

    def open_absent(folder: Path, clients: int) -> None:
        find_program("varde-has-no-such-program", f"it, {folder.name and clients}")

    monkeypatch.setitem(SERVERS, "mosquitto", open_absent)
    said: list[str] = []
    result = measure_durable(Options(quick=True, servers=("mosquitto",), say=said.append))
    words = "varde-has-no-such-program is not installed: apt-get install it, 300"
    assert result == {"mosquitto": {"missing": words}}
    assert said[-1] == f"durable: mosquitto: {words}"


def test_find_program_raises_missing() -> None:
    """What to install is said."""
    with pytest.raises(Missing, match="apt-get install nothing"):
        find_program("varde-has-no-such-program", "nothing")
