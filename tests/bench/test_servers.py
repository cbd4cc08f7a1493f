"""Every server of the benchmark does the work: a message reaches all others in the room, sealed for each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import pytest

from bench.catalogue import CATALOGUE, VARDE, Entry, entry_of, missing
from bench.clients import CONTENT
from bench.hosting import NoServer, open_server
from bench.lines import Exchange, Line
from bench.measuring import Cores
from bench.plan import Plan
from bench.stage import Stage, Workshop, open_stage
from loadtest.stack.certificate import make_certificate
from tests.system import require
from varde_contract.session import Pattern

PLAN = Plan("1x3,1x2")
MESSAGES = 3
PATIENCE = 20.0
TLS = ("varde", "picows", "trio-websocket", "node-ws")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """No cores of their own, and a folder that goes."""
    return Workshop(Cores(None, None), tmp_path, make_certificate(tmp_path))


def ready(entry: Entry, folder: Path) -> Entry:
    """The server, if what it needs is there."""
    if entry.is_node:
        require("node", "nodejs")
        require("npm", "nodejs")
    assert missing(entry, folder) is None
    return entry


def pull_until(exchange: Exchange, done: Callable[[], bool]) -> None:
    """Receive until something is so."""
    end = monotonic() + PATIENCE
    while not done():
        exchange.pull(0.1)
        if monotonic() > end:
            pytest.fail("it did not come")


def heard(lines: Sequence[Line]) -> list[tuple[int, int]]:
    """Deliveries and acks of each."""
    return [(line.client.deliveries, line.client.acks) for line in lines]


def talk(stage: Stage) -> None:
    """Let everybody in the room of three send, and hear that all was delivered, acked, and went nowhere else."""
    blocks = [stage.clients(rooms) for rooms in stage.plan.blocks]
    three, two = (stage.exchange.connect(clients, at_once=8, deadline=PATIENCE) for clients in blocks)
    for _ in range(MESSAGES):
        for line in three:
            assert line.push(line.client.message())
    pull_until(stage.exchange, lambda: heard(three) == [(2 * MESSAGES, MESSAGES)] * 3)
    two[0].push(two[0].client.message())
    pull_until(stage.exchange, lambda: heard(two) == [(0, 1), (1, 0)])
    assert heard(three) == [(2 * MESSAGES, MESSAGES)] * 3


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.name)
def test_a_message_reaches_everybody_else_in_the_room(entry: Entry, workshop: Workshop) -> None:
    """Each server delivers to all others, acks the sender, and keeps rooms apart; what arrives opens and is right."""
    with open_stage(workshop, ready(entry, workshop.folder), PLAN) as stage:
        talk(stage)


@pytest.mark.parametrize("name", TLS)
def test_the_same_over_tls(name: str, workshop: Workshop) -> None:
    """With a certificate a server speaks TLS 1.3 and does the same."""
    with open_stage(workshop, ready(entry_of(name), workshop.folder), PLAN, tls=True) as stage:
        talk(stage)


@pytest.mark.parametrize("pattern", Pattern)
def test_varde_is_entered_with_both_patterns(pattern: Pattern, workshop: Workshop) -> None:
    """A handshake of either pattern ends in a welcome, for every member."""
    with open_stage(workshop, entry_of(VARDE), PLAN) as stage:
        clients = [stage.client(member, pattern=pattern, joins=False) for member in range(PLAN.members)]
        lines = stage.exchange.connect(clients, at_once=2, deadline=PATIENCE)
        assert [line.client.ready for line in lines] == [True] * PLAN.members


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    """What a server wrote to stderr before it ended is what is reported, and nothing is left running."""
    command = ("python3", "-c", "raise SystemExit('no port is free')")
    with (
        pytest.raises(NoServer, match="no port is free"),
        open_server(command, core=None, log=tmp_path / "log"),
    ):
        pytest.fail("it started")


def test_the_content_is_not_taken_for_a_tag() -> None:
    """No frame of the relay begins as the content does, so counting tags counts frames."""
    assert not any(tag in CONTENT for tag in (b"\x99\xa7msg:new", b"\x96\xa3ack"))
