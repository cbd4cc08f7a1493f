"""A user of the generator at a real relay: it talks, leaves, comes back and loses nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from loadtest.client.protocol import Ending
from loadtest.scenarios.plan import Behaviour
from loadtest.users.population import behaviour_of
from tests.cast import alice, alice_laptop, alice_phone, bob, bob_laptop, bob_phone, carol, carol_phone
from tests.loadtest.users.recording import wait_until
from tests.loadtest.users.running_users import Relay, RunningUsers, open_relay, open_users
from varde_contract.talk import ConversationKind

PAIR = (alice_laptop, alice_phone, bob_phone, bob_laptop)
"""Four devices of two people: a message has a ciphertext for each of the other three."""
MESSAGES = 20


@contextmanager
def open_pair(**plan: Any) -> Iterator[tuple[Relay, RunningUsers]]:
    """A relay, and a population for the four devices."""
    with (
        open_relay(alice, bob, kind=ConversationKind.DM, drain_deadline=20.0) as relay,
        open_users(relay.crowd(*PAIR, group=False), **plan) as running,
    ):
        yield relay, running


def talk(running: RunningUsers, messages: int = MESSAGES) -> None:
    """Have anybody send, and wait until everything has come."""
    for _ in range(messages):
        user = running.population.ready.pick()
        assert user is not None
        assert user.send(running.population.clock.now_ns())
    running.settle()


def expect_all_in_order(running: RunningUsers) -> None:
    """Everything that was drawn was acked, and came to each other device once and in the order of its sender."""
    drawn = [(sender, room, seq) for sender, room, seq, _ in running.ledger.told("draw")]
    assert sorted(running.ledger.told("ack")) == sorted(drawn)
    for user in running.users:
        for sender in {each[0] for each in drawn} - {user.seat}:
            came = [call[3] for call in running.ledger.told("receive") if call[0] == user.seat and call[2] == sender]
            assert came == [seq for each, _, seq in drawn if each == sender]


def test_devices_talk_and_everything_arrives_once_and_in_order() -> None:
    """Each message of a pair is acked, comes to every other device, and is confirmed to the relay."""
    with open_pair() as (relay, running):
        running.enter_all()
        assert running.population.connected == len(PAIR)
        talk(running)
        expect_all_in_order(running)
        assert {due for *_, due in running.ledger.told("draw")} == {3}
        last = [device for seat, device in enumerate(PAIR) if running.ledger.told("draw")[-1][0] != seat]
        wait_until(lambda: all(relay.confirmed(device) == MESSAGES for device in last))
    assert running.ledger.told("closed") == [("1000",)] * len(PAIR)
    assert running.population.connected == 0


def test_a_group_is_written_to_once_for_all() -> None:
    """In a group one ciphertext reaches every other device."""
    with open_relay(alice, bob, carol, kind=ConversationKind.GROUP) as relay:
        gears = (alice_phone, alice_laptop, bob_phone, bob_laptop, carol_phone)
        with open_users(relay.crowd(*gears, group=True)) as running:
            running.enter_all()
            talk(running)
            expect_all_in_order(running)


def test_nobody_writes_before_everybody_has_come() -> None:
    """A message is due to all of a room, so nobody is ready before all have joined it once."""
    with open_pair() as (_, running):
        running.enter(3)
        wait_until(lambda: running.population.connected == 3)
        wait_until(lambda: all(user.device.joined for user in running.users))
        assert running.population.ready.pick() is None
        assert not running.users[0].device.send(0)
        assert running.ledger.told("draw") == []
        running.enter()
        wait_until(lambda: len(running.population.ready) == len(PAIR))


def test_what_gathers_while_a_user_is_away_comes_when_it_is_back() -> None:
    """Who goes offline of its own will is said to, and has everything, once and in order, after it has come back."""
    with open_pair() as (_, running):
        running.enter_all()
        away = running.users[0]
        away.go_offline()
        wait_until(lambda: running.population.connected == len(PAIR) - 1)
        assert running.ledger.told("closed") == [("1000",)]
        assert running.ledger.told("leave") == [(away.seat,)]
        for _ in range(MESSAGES):
            assert running.users[1].device.send(running.population.clock.now_ns())
        wait_until(lambda: not running.ledger.pending)
        assert not any(call[0] == away.seat for call in running.ledger.told("receive"))
        away.come_back()
        running.settle()
        expect_all_in_order(running)
        assert running.ledger.told("attend").count((away.seat,)) == 2
        assert ("connected", True) in running.ledger.calls


def test_a_lost_connection_loses_no_message() -> None:
    """Who was cut comes back by itself, has what came meanwhile once, and has not left of its own will."""
    with open_pair() as (_, running):
        running.enter_all()
        assert not any(user.away_against_its_will for user in running.users)
        for user in running.users:
            assert user.device.send(running.population.clock.now_ns())
            user.device.end(Ending("reset"))
        assert running.population.connected == 0
        wait_until(lambda: running.population.connected == len(PAIR))
        running.settle()
        expect_all_in_order(running)
        assert running.ledger.told("leave") == []


def test_a_drained_node_is_left_in_good_order() -> None:
    """After `goaway` a user leaves within the time it names, and tries to come back."""
    with open_pair() as (relay, running):
        running.enter_all()
        relay.drain()
        wait_until(lambda: {why for (why,) in running.ledger.told("connect_failed")} & {"refused", "reset", "503"})
        assert set(running.ledger.told("closed")) == {("1000",)}
        assert running.ledger.told("leave") == []
        wait_until(lambda: all(user.away_against_its_will for user in running.users))


def test_who_was_replaced_does_not_come_back() -> None:
    """A code of the 41xx ends the user; what it does not get is still due to it."""
    with open_relay(alice, bob, kind=ConversationKind.DM) as relay:
        crowd = relay.crowd(*PAIR, group=False)
        with open_users(crowd) as running, open_users(crowd) as other:
            running.enter()
            wait_until(lambda: running.population.connected)
            other.enter()
            gevent.joinall(running.lives, raise_error=True)
            assert running.ledger.told("closed") == [("4102",)]
            assert running.ledger.told("leave") == []


def test_a_fleeting_user_comes_and_goes() -> None:
    """It leaves in good order after a while, without anything unanswered, and comes back by itself."""
    with open_pair(behaviours=((Behaviour.FLEETING, 1.0),), stay_seconds=0.2) as (_, running):
        running.enter(len(PAIR))
        wait_until(lambda: running.ledger.told("connected").count((True,)) > 3)
        assert set(running.ledger.told("closed")) == {("1000",)}
        assert running.ledger.told("connect_failed") == []


@pytest.mark.parametrize("behaviour", [Behaviour.SLOW, Behaviour.DEAF])
def test_who_reads_badly_is_not_asked_to_send(behaviour: Behaviour) -> None:
    """Slow and deaf users only listen; the slow one has everything in the end, to the deaf one nothing is due."""
    with open_pair(behaviours=((behaviour, 0.4), (Behaviour.STEADY, 0.6))) as (_, running):
        bad = {seat for seat in range(len(PAIR)) if behaviour_of(seat, running.population.plan.behaviours) is behaviour}
        assert 0 < len(bad) < len(PAIR) - 1
        running.enter(len(PAIR))
        wait_until(lambda: len(running.population.ready) == len(PAIR) - len(bad))
        talk(running)
        heard = bad & {call[0] for call in running.ledger.told("receive")}
        assert heard == (bad if behaviour is Behaviour.SLOW else set())
        due = len(PAIR) - 1 - (len(bad) if behaviour is Behaviour.DEAF else 0)
        assert {call[3] for call in running.ledger.told("draw")} == {due}


def test_whoever_is_killed_leaves_no_line_behind() -> None:
    """A greenlet that Locust kills has said goodbye to the relay all the same."""
    with open_pair() as (_, running):
        running.enter_all()
        gevent.killall(running.lives)
        wait_until(lambda: not running.population.present)
        assert running.ledger.told("closed") == [("1000",)] * len(PAIR)
