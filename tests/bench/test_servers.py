"""Every server of the benchmark does the work: a message reaches all others in the room, sealed for each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import pytest

from bench.clients import ACK_TAG, CONTENT, NEW_TAG, MeasuredServer, Member, Workplace, open_measured_server
from bench.connections import Connections
from bench.server import CATALOGUE, VARDE, Entry, install
from loadtest.stack.certificate import make_certificate
from loadtest.stack.rooms import Plan
from tests.system import require
from varde_contract.session import Pattern

PLAN = Plan("1x3,1x2")
MESSAGES = 3
PATIENCE = 20.0
TLS = ("varde", "picows", "trio-websocket", "node-ws")


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """No cores of their own, and a folder that goes."""
    return Workplace((None, None), tmp_path, make_certificate(tmp_path))


def ready(entry: Entry, folder: Path) -> Entry:
    """The server, if what it needs is there."""
    if entry.name == "node-ws":
        require("node", "nodejs")
        require("npm", "nodejs")
    install(entry, folder)
    return entry


def poll_until(connections: Connections, done: Callable[[], bool]) -> None:
    """Receive until something is so."""
    end = monotonic() + PATIENCE
    while not done():
        connections.poll(0.1)
        if monotonic() > end:
            pytest.fail("it did not come")


def received(members: Sequence[Member]) -> list[tuple[int, int]]:
    """Deliveries and acks of each."""
    return [(each.deliveries, each.acks) for each in members]


def exchange(measured: MeasuredServer) -> None:
    """Let everybody in the room of three send, and hear that all was delivered, acked, and went nowhere else."""
    connections = measured.connections
    three, two = (connections.open(measured.clients(members)) for members in measured.plan.blocks.values())
    for _ in range(MESSAGES):
        for member in three:
            member.connection.send(member.message())
            assert not member.connection.unsent
    poll_until(connections, lambda: received(three) == [(2 * MESSAGES, MESSAGES)] * 3)
    sender = min(two, key=lambda each: each.number)
    sender.connection.send(sender.message())
    poll_until(connections, lambda: sorted(received(two)) == [(0, 1), (1, 0)])
    assert received(three) == [(2 * MESSAGES, MESSAGES)] * 3


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_a_message_reaches_everybody_else_in_the_room(entry: Entry, workplace: Workplace) -> None:
    """Each server delivers to all others, acks the sender, and keeps rooms apart; what arrives opens and is right."""
    with open_measured_server(workplace, ready(entry, workplace.folder), PLAN) as measured:
        exchange(measured)


@pytest.mark.parametrize("name", TLS)
def test_the_same_over_tls(name: str, workplace: Workplace) -> None:
    """With a certificate a server speaks TLS 1.3 and does the same."""
    with open_measured_server(workplace, ready(CATALOGUE[name], workplace.folder), PLAN, tls=True) as measured:
        exchange(measured)


@pytest.mark.parametrize("pattern", Pattern)
def test_varde_is_entered_with_both_patterns(pattern: Pattern, workplace: Workplace) -> None:
    """A handshake of either pattern ends in a welcome, for every member."""
    with open_measured_server(workplace, CATALOGUE[VARDE], PLAN) as measured:
        clients = measured.clients(range(PLAN.members), pattern=pattern, joins=False)
        members = measured.connections.open(clients)
        assert [member.ready for member in members] == [True] * PLAN.members


def test_the_content_is_not_taken_for_a_tag() -> None:
    """No frame of the relay begins as the content does, so counting tags counts frames."""
    assert not any(tag in CONTENT for tag in (NEW_TAG, ACK_TAG))
