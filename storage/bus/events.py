"""Events as JSON: how one is written, and how a text with one or several is read."""

from collections.abc import Iterator, Sequence
from typing import Final, get_args

import msgspec
from msgspec import Struct

from domain.events import Event
from varde_contract.ids import decode_text_id


class MalformedEvent(Exception):
    """The text is no event. Its content is not repeated, here or in a cause."""


class _Tag(Struct):
    type: str


_events: Final = msgspec.json.Decoder(Event, dec_hook=decode_text_id)
_many: Final = msgspec.json.Decoder(list[Event], dec_hook=decode_text_id)
_parts: Final = msgspec.json.Decoder(list[msgspec.Raw])
_tag: Final = msgspec.json.Decoder(_Tag)
_KNOWN: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Event))


def encode_event(event: Event) -> bytes:
    """Write an event as one line of JSON; `type` is its tag."""
    return msgspec.json.encode(event)


def decode_event(text: str | bytes | msgspec.Raw) -> Event | None:
    """Read an event; None when its tag is not known here, as a newer node may send one. Unknown fields are left out.

    Raises:
        MalformedEvent: it is neither.
    """
    try:
        return _events.decode(text) if _tag.decode(text).type in _KNOWN else None
    except (msgspec.MsgspecError, UnicodeError):
        raise MalformedEvent("a text on the bus is no event") from None


def decode_events(text: str) -> list[Event]:
    """Read what `storage.bus.wire.pack` wrote, but for events of kinds that are not known here.

    Raises:
        MalformedEvent: it is something else, as a whole or in part.
    """
    if not text.startswith("["):
        return list(_known([text]))
    try:
        return _many.decode(text)
    except (msgspec.MsgspecError, UnicodeError):
        return list(_known(_split(text)))  # a newer node may have said something in between


def _split(text: str) -> list[msgspec.Raw]:
    try:
        return _parts.decode(text)
    except (msgspec.MsgspecError, UnicodeError):
        raise MalformedEvent("a text on the bus is no event") from None


def _known(texts: Sequence[str | msgspec.Raw]) -> Iterator[Event]:
    for text in texts:
        event = decode_event(text)
        if event is not None:
            yield event
