"""The load on real sockets, against a server that cannot be trusted."""

import time

import pytest

from bench.durable import measure
from bench.durable.load import Due, Load, draw_schedule, open_ledger, survival_of
from bench.durable.measure import climb, counts_of, highest_sustained
from loadtest.client.websocket import ServerFault
from tests.bench.durable.faulty_server import Fault, open_faulty

DEADLINE = 20.0
MESSAGES = 10
FIRST_RATE = 100
SECONDS = 0.5
CLEAN = {
    "sent": MESSAGES,
    "acked": MESSAGES,
    "refused": 0,
    "received": MESSAGES,
    "duplicated": 0,
    "disordered": 0,
    "astray": 0,
    "missing": 0,
    "unacked": 0,
}


@pytest.mark.parametrize(
    ("fault", "acks", "changed"),
    [
        (lambda batch: batch, True, {}),
        (lambda batch: batch[::-1], True, {"disordered": MESSAGES - 1}),
        (lambda batch: [batch[0], *batch], True, {"duplicated": 1}),
        (lambda batch: batch[:-1], True, {"received": MESSAGES - 1, "missing": 1}),
        (lambda batch: [*batch[:-1], b"m" + bytes(256)], True, {"received": 9, "missing": 1, "astray": 1}),
        (lambda batch: batch, False, {"acked": 0, "unacked": MESSAGES}),
    ],
    ids=["faithful", "reorders", "repeats", "loses", "garbles", "does not ack"],
)
def test_what_a_server_does_to_messages_is_in_the_account(fault: Fault, acks: bool, changed: dict[str, int]) -> None:  # noqa: FBT001 - a table of cases
    """Ten messages from one client to the other; whatever does not happen as it should is counted."""
    clean = not changed
    with open_faulty(fault, acks=acks) as server, Load(server, 2) as load:
        load.connect(range(2))
        load.run(iter([Due(0, 0)] * MESSAGES), time.monotonic_ns())
        settled = load.settle(DEADLINE if clean or "duplicated" in changed or "disordered" in changed else 0.3)
    assert counts_of(settled) == CLEAN | changed


def test_a_server_that_is_not_there_is_told() -> None:
    """Nobody waits for connections that were refused."""
    with open_faulty(lambda batch: batch) as server:
        pass
    with Load(server, 2) as load, pytest.raises(ServerFault, match="broke: refused"):
        load.connect(range(2))


def test_a_server_that_breaks_at_a_higher_rate_keeps_what_it_has_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rates before stand, and the one it broke at is not sustained and says why."""
    # How fast this machine is at the moment is not what is asked: the first rate counts as kept up with.
    monkeypatch.setattr(measure, "KEPT_UP", 0.0)
    monkeypatch.setattr(measure, "PATIENCE_MS", float("inf"))
    handed_on = 0

    def break_later(batch: list[bytes]) -> list[bytes]:
        nonlocal handed_on
        handed_on += len(batch)
        if handed_on > FIRST_RATE * SECONDS * 2:
            raise ConnectionAbortedError
        return batch

    with open_faulty(break_later, batch=1) as server, Load(server, 2) as load:
        load.connect(range(2))
        found = climb(load, (FIRST_RATE, 10 * FIRST_RATE), (), (0.0, SECONDS))
    assert found[FIRST_RATE]["account"]["received"] > 0
    assert found[FIRST_RATE]["account"]["missing"] == 0
    assert found[10 * FIRST_RATE]["sustained"] is False
    assert "broke" in found[10 * FIRST_RATE]["failed"]


def test_what_was_acked_and_never_came_is_lost() -> None:
    """Of five messages one came, and three were acked: two of these are lost."""
    ledger = open_ledger()
    drafts = [ledger.draw(0, 0, 0, 256, 1) for _ in range(5)]
    for seq in (1, 2, 4):
        ledger.ack(0, 0, seq)
    ledger.receive(1, 0, drafts[3].payload)
    assert survival_of(ledger, 2) == {"sent": 5, "acked": 3, "lost_after_ack": 2}


def test_the_schedule_is_an_open_model() -> None:
    """It is the same for every server, ends in time, is as dense as asked, and has everybody in turn."""
    due = list(draw_schedule(1_000, 5.0, range(10)))
    assert due == list(draw_schedule(1_000, 5.0, range(10)))
    times = [each.at_ns for each in due]
    assert times == sorted(times)
    assert times[-1] < 5_000_000_000
    assert 4_700 < len(due) < 5_300
    assert all({each.sender for each in due[at : at + 10]} == set(range(10)) for at in range(0, 4_000, 10))


def test_the_highest_sustained_rate_is_what_arrived() -> None:
    """A rate that was too much does not count, and without any there is no figure."""
    found = {1_000: {"sustained": True, "achieved": 998.0}, 2_000: {"sustained": False, "achieved": 1_990.0}}
    assert highest_sustained(found) == 998.0
    assert highest_sustained({2_000: found[2_000]}) is None
