"""The generator on real sockets, against a server that cannot be trusted."""

import os
import time

import pytest

from bench.durable import ramp
from bench.durable.generator import Effort, Generator
from bench.durable.ledger import Account, Ledger
from bench.durable.ramp import Pace, climb
from bench.durable.schedule import Due
from bench.durable.served import Served
from loadtest.client.websocket import ServerFault
from tests.bench.durable.unfaithful import Fault, PlainDialect, open_unfaithful

DEADLINE = 20.0
MESSAGES = 10
FIRST_RATE = 100
SECONDS = 0.5


def account_of(fault: Fault, *, acks: bool = True, patience: float = DEADLINE) -> Account:
    """Send ten messages from one connection to the other, and return what the book says of them."""
    ledger = Ledger(2)
    with open_unfaithful(fault, acks=acks) as address:
        generator = Generator(address, lambda number: PlainDialect(number, ledger), ledger)
        try:
            generator.connect(range(2), deadline=DEADLINE)
            generator.run(iter([Due(0, 0)] * MESSAGES), time.monotonic_ns())
            generator.settle(patience)
        finally:
            generator.close()
    return ledger.account()


def test_a_faithful_server_has_a_clean_account() -> None:
    """Ten messages are sent, acked and there."""
    account = account_of(lambda batch: batch)
    assert account.faultless
    assert account.received == MESSAGES


def test_a_server_that_reorders_is_caught() -> None:
    """The last first: the nine that come after it are out of order."""
    account = account_of(lambda batch: batch[::-1])
    assert (account.received, account.disordered) == (MESSAGES, MESSAGES - 1)


def test_a_server_that_repeats_is_caught() -> None:
    """A message that comes before the others, and once more, is counted once, and once as a repetition."""
    account = account_of(lambda batch: [batch[0], *batch])
    assert (account.received, account.duplicated) == (MESSAGES, 1)


def test_a_server_that_loses_is_caught() -> None:
    """An acked message that nobody got is missing."""
    account = account_of(lambda batch: batch[:-1], patience=0.3)
    assert (account.acked, account.missing) == (MESSAGES, 1)
    assert not account.faultless


def test_a_server_that_does_not_ack_is_caught() -> None:
    """Delivered is not acked."""
    account = account_of(lambda batch: batch, acks=False, patience=0.3)
    assert (account.received, account.unacked) == (MESSAGES, MESSAGES)
    assert not account.faultless


def test_a_server_that_is_not_there_is_told() -> None:
    """Nobody waits for connections that were refused."""
    with open_unfaithful(lambda batch: batch) as address:
        pass
    ledger = Ledger(2)
    generator = Generator(address, lambda number: PlainDialect(number, ledger), ledger)
    with pytest.raises(ServerFault, match="broke"):
        generator.connect(range(2), deadline=DEADLINE)
    generator.close()


def test_a_busy_generator_says_so() -> None:
    """More than nine tenths of a core: the figure may be the generator's."""
    assert Effort(10.0, 9.1).bound
    assert not Effort(10.0, 8.9).bound


def test_a_server_that_breaks_at_a_higher_rate_keeps_what_it_has_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rates before stand, and the one it broke at is not sustained and says why."""
    # How fast this machine is at the moment is not what is asked: the first rate counts as kept up with.
    monkeypatch.setattr(ramp, "KEPT_UP", 0.0)
    monkeypatch.setattr(ramp, "PATIENCE_MS", float("inf"))
    ledger = Ledger(2)
    handed_on = 0

    def break_later(batch: list[bytes]) -> list[bytes]:
        nonlocal handed_on
        handed_on += len(batch)
        if handed_on > FIRST_RATE * SECONDS * 2:
            raise ConnectionAbortedError
        return batch

    with open_unfaithful(break_later, batch=1) as address:
        generator = Generator(address, lambda number: PlainDialect(number, ledger), ledger)
        served = Served("double", address, lambda number, _: PlainDialect(number, ledger), os.getpid(), {}, {})
        try:
            generator.connect(range(2), deadline=DEADLINE)
            found = climb(generator, served, (FIRST_RATE, 10 * FIRST_RATE), (), Pace(warm_up=0, measured=SECONDS))
        finally:
            generator.close()
    assert found[FIRST_RATE]["account"]["received"] > 0
    assert found[FIRST_RATE]["account"]["missing"] == 0
    assert found[10 * FIRST_RATE]["sustained"] is False
    assert "broke" in found[10 * FIRST_RATE]["failed"]
