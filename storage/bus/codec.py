"""Events as the text that travels on a bus, and back. Refuses to carry anything that is no `domain.events.Event`."""

from typing import Final, get_args

import msgspec
from msgspec import Struct

from domain.events import Event


class MalformedEvent(Exception):
    """The text is no event. Its content is not repeated, here or in a cause."""


class _Tag(Struct):
    type: str


_events: Final = msgspec.json.Decoder(Event)
_tag: Final = msgspec.json.Decoder(_Tag)
_KNOWN: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Event))


def encode_event(event: Event) -> str:
    """Write an event as one line of JSON; `type` is its tag."""
    return msgspec.json.encode(event).decode()


def decode_event(text: str) -> Event | None:
    """Read an event; None when its tag is not known here, as a newer node may send one. Unknown fields are left out.

    Raises:
        MalformedEvent: it is neither.
    """
    try:
        return _events.decode(text) if _tag.decode(text).type in _KNOWN else None
    except (msgspec.MsgspecError, UnicodeError):
        raise MalformedEvent("a text on the bus is no event") from None
