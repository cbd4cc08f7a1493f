"""Events as JSON: what comes back, what is no event, and how several share a text."""

import pytest

from domain.events import Event
from domain.talk.events import MembershipChanged
from storage.bus.events import MalformedEvent, decode_event, decode_events, encode_event
from storage.bus.postgres import PAYLOAD_LIMIT
from storage.bus.wire import pack
from tests.ids import id_of
from tests.store_contracts.every_event import EVERY_EVENT
from varde_contract.ids import ConversationId

CHANGED = MembershipChanged(ConversationId(id_of(7)), 3)


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_an_event_is_small_and_comes_back_equal(event: Event) -> None:
    """Every event fits a bus with room to spare, and reads back as it was written."""
    text = encode_event(event)
    assert decode_event(text) == event
    assert len(text) < PAYLOAD_LIMIT / 10


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
    assert decode_event(encode_event(CHANGED).replace(b"{", b'{"hue":"blue",', 1)) == CHANGED


def test_events_share_texts_in_their_order() -> None:
    """As few texts as they fit, none above the limit, and a kind that is not known here is left out among them."""
    events = [encode_event(event) for event in EVERY_EVENT]
    texts = pack([*events, b'{"type":"not-thought-of-yet"}'], 500)
    assert [event for text in texts for event in decode_events(text)] == [*EVERY_EVENT]
    assert max(len(text) for text in texts) <= 500
    assert len(texts) < len(events) / 2
    assert pack(events[:1], 1) == [events[0].decode()]
    assert pack([], 500) == []
