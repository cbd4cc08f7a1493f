"""The bus of the domain: typed events over a bus that carries text."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from domain.events import Event
from storage.bus.bus import Bus, BusDown
from storage.bus.codec import MalformedEvent, decode_events, encode_events
from storage.island import IslandClosed

_log = logging.getLogger(__name__)


class EventBus:
    """Keeps the promises of `domain.ports.Bus`."""

    def __init__(self, wire: Bus) -> None:
        self._wire = wire

    async def publish(self, events: Sequence[Event]) -> None:
        """Ring for every event, within the wire's deadline. What cannot be published is lost, which the log says."""
        try:
            await self._wire.publish(encode_events(events))
        except (BusDown, IslandClosed) as error:
            _log.warning("%d events were not published: %s", len(events), error)

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
