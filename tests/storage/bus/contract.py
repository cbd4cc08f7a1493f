"""The promises of `storage.bus.text_bus.TextBus`, as tests that judge every kind of it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest
import trio

from storage.bus.text_bus import PAYLOAD_LIMIT, BusDown, PayloadMisuse, TextBus

PATIENCE = 30  # seconds until a payload that does not come is a failure


class BusNetwork(Protocol):
    """What the nodes have in common."""

    def open_bus(self) -> AbstractAsyncContextManager[TextBus]:
        """One more node."""
        ...

    async def cut(self) -> None:
        """Break every connection once."""
        ...


class RecordingListener:
    """A listener that records what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.resyncs = 0
        self._changed = trio.Event()

    def receive(self, payload: str) -> None:
        """Record a payload."""
        self.heard.append(payload)
        self._change()

    def resync(self) -> None:
        """Record that something may have been missed."""
        self.resyncs += 1
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_until(self, met: Callable[["RecordingListener"], bool]) -> None:
        """Return when this is so."""
        with trio.fail_after(PATIENCE):
            while not met(self):
                await self._changed.wait()

    async def wait_heard(self, *payloads: str) -> None:
        """Return when exactly these were heard, in this order."""
        await self.wait_until(lambda listener: len(listener.heard) >= len(payloads))
        assert self.heard == list(payloads)


async def every_node_hears(network: BusNetwork) -> None:
    """All nodes hear what one publishes, the publisher included."""
    here, there = RecordingListener(), RecordingListener()
    async with network.open_bus() as bus, network.open_bus() as other:
        with bus.listen(here.receive, here.resync), other.listen(there.receive, there.resync):
            await bus.publish(["ding"])
            await here.wait_heard("ding")
            await there.wait_heard("ding")


async def all_listeners_of_a_node_hear(network: BusNetwork) -> None:
    """One node may listen in several places."""
    one, two = RecordingListener(), RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(one.receive, one.resync), bus.listen(two.receive, two.resync):
            await bus.publish(["ding"])
            await one.wait_heard("ding")
            await two.wait_heard("ding")


async def order_is_kept(network: BusNetwork) -> None:
    """What one node publishes is heard in the order of publishing, within a call and between calls."""
    listener = RecordingListener()
    expected = [f"{call}.{number}" for call in range(20) for number in range(50)]
    async with network.open_bus() as bus, network.open_bus() as other:
        with other.listen(listener.receive, listener.resync):
            for call in range(20):
                await bus.publish(expected[call * 50 : call * 50 + 50])
            await listener.wait_heard(*expected)


async def many_publishers_are_all_heard(network: BusNetwork) -> None:
    """A thousand calls at once are all heard, once each."""
    listener = RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            async with trio.open_nursery() as nursery:
                for number in range(1_000):
                    nursery.start_soon(bus.publish, [str(number)])
            await listener.wait_until(lambda listener: len(listener.heard) >= 1_000)
    assert sorted(listener.heard, key=int) == [str(number) for number in range(1_000)]


async def listening_begins_and_ends_with_its_block(network: BusNetwork) -> None:
    """What was published before or after the block is not heard in it; the node itself goes on."""
    short, whole = RecordingListener(), RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(whole.receive, whole.resync):
            await bus.publish(["before"])
            await whole.wait_heard("before")
            with bus.listen(short.receive, short.resync):
                await bus.publish(["within"])
                await whole.wait_heard("before", "within")
            await bus.publish(["after"])
            await whole.wait_heard("before", "within", "after")
    assert short.heard == ["within"]


async def nothing_is_heard_after_the_block(network: BusNetwork) -> None:
    """A listener that has left is not called any more, not even with what was on its way already."""
    leaving, staying = RecordingListener(), RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(staying.receive, staying.resync):
            with bus.listen(leaving.receive, leaving.resync):
                await bus.publish(["first"])
                await leaving.wait_until(lambda listener: bool(listener.heard))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(bus.publish, [str(number) for number in range(1_000)])
                    await staying.wait_until(lambda listener: len(listener.heard) > 1)
            at_leaving = list(leaving.heard)
            await staying.wait_until(lambda listener: len(listener.heard) == 1_001)
    assert leaving.heard == at_leaving


async def a_cut_is_followed_by_a_resync(network: BusNetwork) -> None:
    """After its connections were lost a node is told to resync, and hears everything that is published from then on."""
    listener = RecordingListener()
    async with network.open_bus() as bus, network.open_bus() as other:
        with other.listen(listener.receive, listener.resync):
            await bus.publish(["before"])
            await listener.wait_heard("before")
            assert listener.resyncs == 0
            for cut in (1, 2, 3):
                await network.cut()
                await listener.wait_until(lambda listener, cut=cut: listener.resyncs == cut)  # type: ignore[misc]  # bound at once
                await bus.publish([f"after {cut}"])
                await listener.wait_heard("before", *(f"after {each}" for each in range(1, cut + 1)))


async def equal_payloads_of_different_calls_are_all_heard(network: BusNetwork) -> None:
    """Only within one call may equal payloads be heard as one."""
    listener = RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            for _ in range(3):
                await bus.publish(["ding"])
            await listener.wait_heard("ding", "ding", "ding")


async def any_text_travels(network: BusNetwork) -> None:
    """JSON, quotes, line ends, the empty text and letters of any script arrive as they were."""
    texts = ['{"a": "b\'c\\u0000"}', "", "blåbærøl \N{SNOWMAN}\N{GRINNING FACE}", "a\nb\r\n\t", "$1; DROP TABLE x; --"]
    listener = RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            await bus.publish(texts)
            await listener.wait_heard(*texts)


async def the_longest_payload_travels(network: BusNetwork) -> None:
    """A payload of exactly the limit, counted in bytes, is heard."""
    longest = "å" * (PAYLOAD_LIMIT // 2)
    listener = RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            await bus.publish([longest])
            await listener.wait_heard(longest)


async def misuse_is_refused(network: BusNetwork) -> None:
    """A payload too long, or one with a NUL, is our bug: it is refused by size, unshown, and nothing is published."""
    listener = RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            for wrong in ("c4nary" + "å" * (PAYLOAD_LIMIT // 2), "c4nary\0"):
                with pytest.raises(PayloadMisuse) as caught:
                    await bus.publish(["fine", wrong])
                assert "c4nary" not in str(caught.value)
            await bus.publish(["sentinel"])
            await listener.wait_heard("sentinel")


async def publishing_nothing_is_nothing(network: BusNetwork) -> None:
    """An empty call rings nobody."""
    listener = RecordingListener()
    async with network.open_bus() as bus:
        with bus.listen(listener.receive, listener.resync):
            await bus.publish([])
            await bus.publish(["sentinel"])
            await listener.wait_heard("sentinel")


async def a_fault_in_a_listener_ends_the_bus(network: BusNetwork) -> None:
    """What a listener raises is raised where the bus was opened, and cancels what ran there."""
    fault = LookupError("a bug in a listener")

    def raise_fault(_payload: str) -> None:
        raise fault

    async def use() -> None:
        async with network.open_bus() as bus:
            with bus.listen(raise_fault, lambda: None):
                await bus.publish(["ding"])
                await trio.sleep_forever()

    with trio.fail_after(PATIENCE), pytest.raises(LookupError) as caught:
        await use()
    assert caught.value is fault


async def a_closed_bus_does_not_publish(network: BusNetwork) -> None:
    """After its block, a bus says that it is closed."""
    async with network.open_bus() as bus:
        pass
    with pytest.raises(BusDown):
        await bus.publish(["ding"])


CONTRACT = [
    every_node_hears,
    all_listeners_of_a_node_hear,
    order_is_kept,
    many_publishers_are_all_heard,
    listening_begins_and_ends_with_its_block,
    nothing_is_heard_after_the_block,
    a_cut_is_followed_by_a_resync,
    equal_payloads_of_different_calls_are_all_heard,
    any_text_travels,
    the_longest_payload_travels,
    misuse_is_refused,
    publishing_nothing_is_nothing,
    a_fault_in_a_listener_ends_the_bus,
    a_closed_bus_does_not_publish,
]
