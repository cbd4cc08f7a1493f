"""The durable servers themselves: real Mosquitto, real ejabberd, the real system of Varde."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.durable.generator import Generator
from bench.durable.ledger import Account, Ledger
from bench.durable.measure import SERVERS, measure
from bench.durable.schedule import Due
from bench.durable.served import Missing, Open, Served, find_program, listens, runs
from bench.durable.survival import measure_survival
from bench.measuring import processes_of
from bench.options import Options
from tests.system import require

DEADLINE = 60.0
CONNECTIONS = 4
MESSAGES = 10
NEEDED = {
    "mosquitto": lambda: require("/usr/sbin/mosquitto", "mosquitto"),
    "mosquitto_each_second": lambda: require("/usr/sbin/mosquitto", "mosquitto"),
    "ejabberd": lambda: require("/usr/sbin/ejabberdctl", "ejabberd"),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres may pass through, as another user: pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="varde-") as name:
        yield Path(name)


def pass_messages(served: Served) -> Account:
    """Send ten messages through the server, from everybody, and return what the book says of them."""
    ledger = Ledger(CONNECTIONS)
    generator = Generator(served.address, lambda number: served.dial(number, ledger), ledger)
    try:
        generator.connect(range(CONNECTIONS), deadline=DEADLINE)
        generator.run((Due(0, number % CONNECTIONS) for number in range(MESSAGES)), time.monotonic_ns())
        generator.settle(DEADLINE)
    finally:
        generator.close()
    return ledger.account()


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_passes_messages_and_is_gone_afterwards(name: str, folder: Path) -> None:
    """It starts in a folder of its own, ten messages are acked and come in order, and nothing of it is left running."""
    if name in NEEDED:
        NEEDED[name]()
    with SERVERS[name]()(folder, CONNECTIONS) as served:
        account = pass_messages(served)
        running = [pid for root in (served.pid, *served.beside.values()) for pid in processes_of(root)]
    assert account.faultless
    assert account.received == MESSAGES
    assert not listens(served.address)
    assert not list(filter(runs, running))


def test_what_varde_acked_survives_the_death_of_all_its_processes() -> None:
    """Relay and Postgres are killed with SIGKILL under load; who was away finds every message that was acked."""
    kept = measure_survival(SERVERS["varde"](), seconds=0.5)
    assert kept["acked"] > 0
    assert kept["lost_after_ack"] == 0


def test_a_program_that_is_not_there_is_missing_in_words() -> None:
    """What to install is said."""
    with pytest.raises(Missing, match="apt-get install nothing"):
        find_program("varde-has-no-such-program", "nothing")


def test_a_missing_server_is_in_the_result_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no figure, there are words, and the run goes on."""

    def absent() -> Open:
        raise Missing("it is not installed: apt-get install it")

    monkeypatch.setitem(SERVERS, "mosquitto", absent)
    said: list[str] = []
    result = measure(Options(quick=True, servers=("mosquitto",), say=said.append))
    assert result == {"mosquitto": {"missing": "it is not installed: apt-get install it"}}
    assert said[-1] == "durable: mosquitto: it is not installed: apt-get install it"
