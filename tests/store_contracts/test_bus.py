"""The contract of the domain's bus."""

from typing import get_args

import pytest
import trio

from domain.events import Event
from domain.ports import Stores
from tests.store_contracts.every_event import EVERY_EVENT

DEADLINE = 30
"""Seconds to wait for what must come."""


class Ear:
    """Remembers what it heard, and can be waited for."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self._grew = trio.Event()

    def receive(self, event: Event) -> None:
        """Hear an event."""
        self.heard.append(event)
        self._grew.set()

    def resync(self) -> None:
        """Fail: nothing may be lost here."""
        pytest.fail("the bus lost track")

    async def wait_heard(self, count: int) -> None:
        """Return when so many were heard."""
        with trio.fail_after(DEADLINE):
            while len(self.heard) < count:
                self._grew = trio.Event()
                await self._grew.wait()


async def test_every_kind_of_event_arrives_as_it_was(nodes: tuple[Stores, Stores]) -> None:
    """Every kind arrives at every node, the publishing one included, equal to what was published and in its order."""
    ears = [Ear() for _ in nodes]
    with nodes[0].bus.listen(ears[0].receive, ears[0].resync), nodes[1].bus.listen(ears[1].receive, ears[1].resync):
        await nodes[0].bus.publish(EVERY_EVENT[:5])
        await nodes[0].bus.publish(EVERY_EVENT[5:])
        for ear in ears:
            await ear.wait_heard(len(EVERY_EVENT))
    assert [tuple(ear.heard) for ear in ears] == [EVERY_EVENT, EVERY_EVENT]


async def test_every_listener_of_a_node_hears(stores: Stores) -> None:
    """Several listeners hear the same; one that has stopped hears nothing more."""
    early, late = Ear(), Ear()
    with stores.bus.listen(late.receive, late.resync):
        with stores.bus.listen(early.receive, early.resync):
            await stores.bus.publish(EVERY_EVENT[:1])
            await early.wait_heard(1)
        await stores.bus.publish(EVERY_EVENT[1:2])
        await late.wait_heard(2)
    assert (early.heard, late.heard) == ([EVERY_EVENT[0]], list(EVERY_EVENT[:2]))


async def test_publishing_without_a_listener_is_fine(stores: Stores) -> None:
    """A doorbell that nobody hears is no error."""
    await stores.bus.publish(EVERY_EVENT)
    await stores.bus.publish(())


def test_every_kind_is_here() -> None:
    """A new kind of event must be shown to arrive."""
    assert {type(event) for event in EVERY_EVENT} == set(get_args(Event))
