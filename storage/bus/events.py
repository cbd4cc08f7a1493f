"""The bus of the domain: events, written as JSON, over a bus that carries text."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, get_args

import msgspec
from msgspec import Struct

from domain.events import Event
from storage.bus.text_bus import PAYLOAD_LIMIT, BusDown, TextBus
from storage.island import IslandClosed
from varde_contract.ids import decode_text_id

_log = logging.getLogger(__name__)


class EventBus:
    """Keeps the promises of `domain.ports.Bus`."""

    def __init__(self, wire: TextBus) -> None:
        self._wire = wire

    async def publish(self, events: Sequence[Event]) -> None:
        """Ring for every event, within the wire's deadline. What cannot be published is lost, which the log says."""
        try:
            await self._wire.publish(encode_events(events))
        except (BusDown, IslandClosed) as error:
            _log.warning("%d events were not published: %s", len(events), error)

    @property
    def connected(self) -> bool:
        """Whether the wire is."""
        return self._wire.connected

    def listen(self, receive: Callable[[Event], None], resync: Callable[[], None]) -> AbstractContextManager[None]:
        """Hear what is published while the block runs. What the two functions raise ends the bus: it is a bug."""
        return self._wire.listen(lambda text: _pass_on(text, receive), resync)


def _pass_on(text: str, receive: Callable[[Event], None]) -> None:
    try:
        events = decode_events(text)
    except MalformedEvent as error:
        _log.warning("%s: it has %d characters", error, len(text))
        return
    for event in events:
        receive(event)


class MalformedEvent(Exception):
    """The text is no event. Its content is not repeated, here or in a cause."""


class _Tag(Struct):
    type: str


_events: Final = msgspec.json.Decoder(Event, dec_hook=decode_text_id)
_many: Final = msgspec.json.Decoder(list[Event], dec_hook=decode_text_id)
_parts: Final = msgspec.json.Decoder(list[msgspec.Raw])
_tag: Final = msgspec.json.Decoder(_Tag)
_KNOWN: Final = frozenset(kind.__struct_config__.tag for kind in get_args(Event))


def encode_event(event: Event) -> str:
    """Write an event as one line of JSON; `type` is its tag."""
    return msgspec.json.encode(event).decode()


def encode_events(events: Sequence[Event]) -> list[str]:
    """Write events into as few texts as they fit, in their order: one as itself, several as a JSON array.

    A text costs a bus and each of its listeners about the same, however much it says.
    """
    texts: list[str] = []
    parts: list[bytes] = []
    size = 1
    for part in map(msgspec.json.encode, events):
        if parts and size + len(part) + 1 > PAYLOAD_LIMIT:
            texts.append(_join(parts))
            parts, size = [], 1
        parts.append(part)
        size += len(part) + 1  # with the comma or bracket behind it
    return [*texts, _join(parts)] if parts else texts


def _join(parts: Sequence[bytes]) -> str:
    return (parts[0] if len(parts) == 1 else b"[%b]" % b",".join(parts)).decode()


def decode_event(text: str | msgspec.Raw) -> Event | None:
    """Read an event; None when its tag is not known here, as a newer node may send one. Unknown fields are left out.

    Raises:
        MalformedEvent: it is neither.
    """
    try:
        return _events.decode(text) if _tag.decode(text).type in _KNOWN else None
    except (msgspec.MsgspecError, UnicodeError):
        raise MalformedEvent("a text on the bus is no event") from None


def decode_events(text: str) -> list[Event]:
    """Read what `encode_events` wrote, but for events of kinds that are not known here.

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
