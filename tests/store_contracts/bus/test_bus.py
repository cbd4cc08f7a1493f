"""The promises of `domain.ports.Bus`, kept by every kind of it."""

from typing import get_args

import pytest
import trio

from domain.events import Event, topic_of
from domain.people.events import KeysLow
from domain.talk.events import MessagesCommitted
from tests.ids import id_of
from tests.store_contracts.bus.buses import IMPATIENT, PATIENCE, Fleet, RealFleet, RecordingListener, wait_state
from tests.store_contracts.every_event import CONVERSATION, DEVICE, EVERY_EVENT
from varde_contract.ids import ConversationId

OTHER = ConversationId(id_of(77))
SENTINEL = KeysLow(DEVICE, -1)


def head(number: int, conversation: ConversationId = CONVERSATION) -> MessagesCommitted:
    """An event with a number to tell it by."""
    return MessagesCommitted("node", conversation, number)


def note(number: int) -> KeysLow:
    """An event for every node, with a number to tell it by."""
    return KeysLow(DEVICE, number)


async def test_every_kind_of_event_arrives_as_it_was(fleet: Fleet) -> None:
    """Every kind arrives at every process that wants it, the publishing one included, equal to what was published."""
    here, there = RecordingListener(), RecordingListener()
    async with fleet.open_bus() as bus, fleet.open_bus() as other:
        with bus.listen(here.receive, here.resync) as mine, other.listen(there.receive, there.resync) as theirs:
            mine.subscribe(CONVERSATION)
            theirs.subscribe(CONVERSATION)
            for listener in here, there:
                await listener.wait_until(lambda each: not fleet.subscribes or CONVERSATION in each.missed)
            await bus.publish(EVERY_EVENT)
            for listener in here, there:
                await listener.wait_until(lambda each: len(each.heard) == len(EVERY_EVENT))
    for listener in here, there:
        for topic in CONVERSATION, None:  # between two topics no order is promised
            expected = [event for event in EVERY_EVENT if topic_of(event) == topic]
            assert [event for event in listener.heard if topic_of(event) == topic] == expected


async def test_only_what_was_subscribed_to_is_heard(fleet: Fleet) -> None:
    """Events of other conversations reach neither this process nor this listener, and none after `unsubscribe`."""
    here, there = RecordingListener(), RecordingListener()
    async with fleet.open_bus() as bus, fleet.open_bus() as other:
        with bus.listen(here.receive, here.resync) as mine, other.listen(there.receive, there.resync) as theirs:
            mine.subscribe(CONVERSATION)
            theirs.subscribe(OTHER)
            await here.wait_until(lambda each: not fleet.subscribes or CONVERSATION in each.missed)
            await bus.publish([head(1), head(2)])
            await here.wait_heard(head(1), head(2))
            mine.unsubscribe(CONVERSATION)
            mine.unsubscribe(CONVERSATION)  # which changes nothing
            await bus.publish([head(3)])
            await bus.publish([SENTINEL])
            await here.wait_heard(head(1), head(2), SENTINEL)
            await there.wait_heard(SENTINEL)


async def test_nothing_is_lost_between_subscribing_and_reading_the_head(fleet: Fleet) -> None:
    """Who subscribes first, then reads the head, and again on `resync`, knows every number however it falls."""
    truth = known = 0
    done = trio.Event()

    async def write() -> None:
        nonlocal truth
        for number in range(1, 31):
            truth = number  # the commit, and then the doorbell
            await other.publish([head(number)])
        done.set()

    def receive(event: Event) -> None:
        nonlocal known
        known = max(known, getattr(event, "head", 0))

    def resync(_: frozenset[ConversationId] | None) -> None:
        nonlocal known
        known = max(known, truth)

    async with fleet.open_bus() as bus, fleet.open_bus() as other, trio.open_nursery() as nursery:
        with bus.listen(receive, resync) as listener:
            nursery.start_soon(write)
            await trio.lowlevel.checkpoint()
            listener.subscribe(CONVERSATION)
            known = max(known, truth)
            await done.wait()
            with trio.fail_after(PATIENCE):
                while known < truth:
                    await trio.lowlevel.checkpoint()


async def test_a_change_of_mind_ends_where_it_ended(fleet: Fleet) -> None:
    """However often and fast a conversation is left and taken up again, it is heard in the end, and no loss is told."""
    listener = RecordingListener()
    async with fleet.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync) as mine:
            for _ in range(5):
                for _ in range(4):
                    mine.subscribe(CONVERSATION)
                    mine.unsubscribe(CONVERSATION)
                    await trio.lowlevel.checkpoint()
                mine.subscribe(CONVERSATION)
                listener.missed.clear()
                mine.unsubscribe(CONVERSATION)
                mine.subscribe(OTHER)
                mine.subscribe(CONVERSATION)
                await bus.publish([SENTINEL])
            await listener.wait_until(lambda each: each.heard == 5 * [SENTINEL])
            number = 0
            while head(number) not in listener.heard:
                number += 1
                await bus.publish([head(number)])
    assert listener.resyncs == 0


async def test_the_order_of_a_publisher_is_kept(fleet: Fleet) -> None:
    """What one process publishes under one topic is heard in that order, within a call and between calls."""
    listener = RecordingListener()
    expected = [note(number) for number in range(1_000)]
    async with fleet.open_bus() as bus, fleet.open_bus() as other:
        with other.listen(listener.receive, listener.resync):
            for start in range(0, 1_000, 50):
                await bus.publish(expected[start : start + 50])
            await listener.wait_heard(*expected)


async def test_many_publishers_are_all_heard(fleet: Fleet) -> None:
    """A hundred calls at once are all heard, once each."""
    listener = RecordingListener()
    async with fleet.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            async with trio.open_nursery() as nursery:
                for number in range(100):
                    nursery.start_soon(bus.publish, [note(number)])
            await listener.wait_until(lambda each: len(each.heard) >= 100)
    assert sorted(event.left for event in listener.heard if isinstance(event, KeysLow)) == list(range(100))


async def test_listening_begins_and_ends_with_its_block(fleet: Fleet) -> None:
    """Several listeners of one process hear the same; what was published before or after a block is not heard in it."""
    short, whole = RecordingListener(), RecordingListener()
    async with fleet.open_bus() as bus:
        with bus.listen(whole.receive, whole.resync):
            await bus.publish([note(1)])
            await whole.wait_heard(note(1))
            with bus.listen(short.receive, short.resync):
                await bus.publish([note(2)])
                await short.wait_heard(note(2))
            await bus.publish([note(3)])
            await whole.wait_heard(note(1), note(2), note(3))
    assert short.heard == [note(2)]


async def test_a_restart_is_followed_by_a_resync(fleet: Fleet) -> None:
    """After the server was killed each listener is told so, and hears all that is published from then on."""
    listener = RecordingListener()
    async with fleet.open_bus() as bus, fleet.open_bus() as other:
        with other.listen(listener.receive, listener.resync) as mine:
            mine.subscribe(CONVERSATION)
            await listener.wait_until(lambda each: not fleet.subscribes or CONVERSATION in each.missed)
            await bus.publish([head(0)])
            await listener.wait_heard(head(0))
            for number in 1, 2:
                told = listener.resyncs
                assert told >= number - 1
                await fleet.restart()
                await listener.wait_until(lambda each, told=told: each.resyncs > told)  # type: ignore[misc]  # bound at once
                await wait_state(bus, other, connected=True)
                await bus.publish([head(number)])
                await listener.wait_until(lambda each, number=number: head(number) in each.heard)  # type: ignore[misc]
    assert listener.heard == [head(0), head(1), head(2)]


async def test_a_stall_is_noticed_and_ends_with_a_resync(real_fleet: RealFleet) -> None:
    """A server that says nothing and closes nothing is found out; publishing ends within its deadline, and raises not.

    What could not be published is confessed: every listener is told to resync, once it can be.
    """
    listener = RecordingListener()
    async with real_fleet.open_bus(IMPATIENT) as bus, real_fleet.open_bus(IMPATIENT) as other:
        with other.listen(listener.receive, listener.resync):
            with real_fleet.stalled():
                with trio.fail_after(PATIENCE):
                    await bus.publish([note(1)])
                await wait_state(bus, other, connected=False)
            await listener.wait_until(lambda each: each.resyncs > 0)
            await wait_state(bus, other, connected=True)
            await bus.publish([note(2)])
            await listener.wait_until(lambda each: note(2) in each.heard)
        assert bus.down_seconds


async def test_a_cancelled_publication_harms_no_other(fleet: Fleet) -> None:
    """Calls cancelled half-way leave the shared connection fit for the next."""
    listener = RecordingListener()
    async with fleet.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            for number in range(20):
                with trio.move_on_after(0.0002 * number):
                    await bus.publish([note(number)])
            await bus.publish([SENTINEL])
            await listener.wait_until(lambda each: each.heard[-1:] == [SENTINEL])


async def test_a_fault_in_a_listener_ends_the_bus(fleet: Fleet) -> None:
    """What a listener raises is raised where the bus was opened, and cancels what ran there."""
    fault = LookupError("a bug in a listener")

    def raise_fault(_: Event) -> None:
        raise fault

    async def use() -> None:
        async with fleet.open_bus() as bus:
            with bus.listen(raise_fault, lambda _: None):
                await bus.publish([SENTINEL])
                await trio.sleep_forever()

    with trio.fail_after(PATIENCE), pytest.raises(LookupError) as caught:
        await use()
    assert caught.value is fault


async def test_publishing_without_a_listener_is_fine(fleet: Fleet) -> None:
    """A doorbell that nobody hears is no error, and neither is one after the bus was closed."""
    async with fleet.open_bus() as bus:
        await bus.publish(EVERY_EVENT)
        await bus.publish(())
    await bus.publish([SENTINEL])


def test_every_kind_is_here() -> None:
    """A new kind of event must be shown to arrive."""
    assert {type(event) for event in EVERY_EVENT} == set(get_args(Event))
