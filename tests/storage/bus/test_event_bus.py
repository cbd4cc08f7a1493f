"""The bus over a wire that a test holds in its hand: what it makes of texts it cannot use, and of a wire that fails."""

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest
import trio

from domain.talk.events import MembershipChanged
from storage.bus.event_bus import EventBus, open_event_bus
from storage.bus.events import encode_event
from storage.bus.inbox import Inbox
from storage.bus.wire import FLEET, RESYNC, BusDown, Message, Timeouts
from storage.island import Island
from tests.ids import id_of
from tests.store_contracts.bus.buses import RecordingListener
from varde_contract.ids import ConversationId

CHANGED = MembershipChanged(ConversationId(id_of(7)), 3)
SECRET = "canary-of-content"
SOON = Timeouts(first_retry=0.001, last_retry=0.01)


class FailingWire:
    """Keeps what is published, but for the next `failures` calls, which raise."""

    def __init__(self) -> None:
        self.inbox: Inbox | None = None
        self.published: list[Message] = []
        self.failures = 0

    async def open(self, inbox: Inbox) -> None:
        """Keep the inbox."""
        self.inbox = inbox

    async def publish(self, messages: Sequence[Message]) -> None:
        """Keep or fail."""
        if self.failures:
            self.failures -= 1
            raise BusDown("the wire was told to fail")
        self.published += messages

    def subscribe(self, topics: Collection[str]) -> None:
        """Do nothing."""

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def open_failing(island: Island) -> AsyncIterator[tuple[EventBus, FailingWire, RecordingListener]]:
    """A bus with one listener on it."""
    wire, listener = FailingWire(), RecordingListener()
    async with open_event_bus(island, wire, SOON) as bus:
        with bus.listen(listener.receive, listener.resync):
            yield bus, wire, listener


async def test_malformed_texts_are_logged_without_content(island: Island, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever else is said on the bus goes to nobody, and its content not to the log."""
    caplog.set_level(logging.DEBUG)
    async with open_failing(island) as (_, wire, listener):
        assert wire.inbox is not None
        wire.inbox.put(f'{{"type":"keys-low","device":"{SECRET}"}}')
        wire.inbox.put(SECRET)
        wire.inbox.put(f'{{"type":"{SECRET}"}}')
        wire.inbox.put(encode_event(CHANGED).decode())
        await listener.wait_heard(CHANGED)
    assert sum("no event" in record.message for record in caplog.records) == 2
    assert SECRET not in caplog.text


async def test_a_publication_is_tried_twice(island: Island) -> None:
    """Only the old connection may have been dead."""
    async with open_failing(island) as (bus, wire, _):
        wire.failures = 1
        await bus.publish([CHANGED])
        assert wire.published == [Message(FLEET, encode_event(CHANGED))]


async def test_what_could_not_be_published_is_confessed(island: Island, caplog: pytest.LogCaptureFixture) -> None:
    """Publishing never raises: it loses, says so once in the log, and tells all to resync as soon as it can."""
    async with open_failing(island) as (bus, wire, _):
        wire.failures = 1_000_000  # the confessions fail meanwhile, too, however many there are
        await bus.publish([CHANGED, CHANGED])
        await bus.publish([CHANGED])
        wire.failures = 0
        with trio.fail_after(30):
            while not wire.published:
                await trio.lowlevel.checkpoint()
        assert wire.published == [Message(FLEET, RESYNC)]
    assert caplog.text.count("not published") == 1
    assert "2 events" in caplog.text
    assert str(CHANGED.conversation) not in caplog.text


async def test_a_confession_is_a_resync(island: Island) -> None:
    """Who hears that another process could not publish looks everything up."""
    async with open_failing(island) as (_, wire, listener):
        assert wire.inbox is not None
        wire.inbox.put(RESYNC.decode())
        await listener.wait_until(lambda each: each.resyncs == 1)
