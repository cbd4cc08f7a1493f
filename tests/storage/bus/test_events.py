"""The domain's events on a bus that carries text: what it makes of texts it cannot use, and of a bus that is down."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import trio

from domain.events import Event
from domain.talk.events import MembershipChanged
from storage.bus.events import EventBus, MalformedEvent, decode_event, encode_event
from storage.bus.text_bus import PAYLOAD_LIMIT, BusDown
from tests.ids import id_of
from tests.store_contracts.every_event import EVERY_EVENT
from varde_contract.ids import ConversationId

CHANGED = MembershipChanged(ConversationId(id_of(7)), 3)
SECRET = "canary-of-content"


class Wire:
    """A bus of text in one task; with `down` it cannot be reached."""

    connected = True

    def __init__(self) -> None:
        self.down = False
        self.receive: Callable[[str], object] = print

    async def publish(self, payloads: Sequence[str]) -> None:
        """Let the listener hear it at once."""
        await trio.lowlevel.checkpoint()
        if self.down:
            raise BusDown("the wire is cut")
        for payload in payloads:
            self.receive(payload)

    @contextmanager
    def listen(self, receive: Callable[[str], object], resync: Callable[[], object]) -> Iterator[None]:
        """One listener, who misses nothing."""
        assert callable(resync)
        self.receive = receive
        yield


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_an_event_is_small_and_comes_back_equal(event: Event) -> None:
    """Every event fits a bus with room to spare, and reads back as it was written."""
    text = encode_event(event)
    assert decode_event(text) == event
    assert len(text.encode()) < PAYLOAD_LIMIT / 10


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "7", '{"type":7}', '{"version":3}', '{"type":"keys-low"}', "\ud800"]
)
def test_what_is_no_event_is_malformed(text: str) -> None:
    """Anything but an event is refused by name, and the refusal repeats nothing."""
    with pytest.raises(MalformedEvent) as raised:
        decode_event(text)
    assert str(raised.value) == "a text on the bus is no event"


def test_an_event_of_a_newer_node_is_ignored() -> None:
    """While a fleet is upgraded, older nodes hear kinds and fields they do not know."""
    assert decode_event('{"type":"not-thought-of-yet","whatever":[1]}') is None
    assert decode_event(encode_event(CHANGED).replace("{", '{"hue":"blue",', 1)) == CHANGED


async def test_malformed_texts_are_logged_without_content(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever else is said on the channel goes to nobody, and its content not to the log."""
    wire = Wire()
    heard: list[Event] = []
    with caplog.at_level(logging.DEBUG), EventBus(wire).listen(heard.append, lambda: None):
        wire.receive(f'{{"type":"keys-low","device":"{SECRET}"}}')
        wire.receive(SECRET)
        wire.receive(f'{{"type":"{SECRET}"}}')
        wire.receive(encode_event(CHANGED))
    assert heard == [CHANGED]
    assert len(caplog.records) == 2
    assert SECRET not in caplog.text


async def test_publishing_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """A bus that is down loses the event, says how many in the log, and the publisher goes on."""
    wire = Wire()
    wire.down = True
    await EventBus(wire).publish([CHANGED, CHANGED])
    assert "2 events were not published" in caplog.text
    assert str(CHANGED.conversation) not in caplog.text
