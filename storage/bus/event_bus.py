"""The bus of the domain, over any wire: encodes events, follows what its listeners want to hear, and filters."""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from uuid import UUID

import trio

from domain.events import Event, topic_of
from domain.ports import Resync
from storage.bus.events import MalformedEvent, decode_events, encode_event
from storage.bus.inbox import Inbox, Lost
from storage.bus.wire import FLEET, RESYNC, BusDown, Message, Timeouts, Wire, retry_pauses
from storage.island import Island, IslandClosed
from varde_contract.ids import ConversationId

_log: Final = logging.getLogger(__name__)


@asynccontextmanager
async def open_event_bus(island: Island, wire: Wire, timeouts: Timeouts | None = None) -> AsyncIterator["EventBus"]:
    """A bus between all who open one on the same server.

    Raises:
        BusDown: at the start only; a server that goes away later is found again, without a word but `resync`.
        IslandClosed: the island has died under it. And whatever a listener raises.
    """
    with trio.CancelScope() as scope:
        bus = EventBus(island, wire, timeouts or Timeouts(), scope)
        try:
            await island.run(bus.open_wire)
            yield bus
        finally:
            # A dead island has taken its connections with it.
            with trio.CancelScope(shield=True), contextlib.suppress(IslandClosed):
                await island.run(bus.close_wire)
    if bus.fault is not None:
        raise bus.fault


class EventBus:
    """Keeps the promises of `domain.ports.Bus`."""

    def __init__(self, island: Island, wire: Wire, timeouts: Timeouts, scope: trio.CancelScope) -> None:
        self._island = island
        self._wire = wire
        self._timeouts = timeouts
        self._inbox = Inbox(island, scope, self._receive, self._resync)
        self._listeners: tuple[_Listener, ...] = ()
        self._wanted: Counter[ConversationId] = Counter()
        self._changes: deque[tuple[str, bool]] = deque()
        self._changes_rung = False
        self._failing = False
        self._confession: asyncio.Task[None] | None = None

    @property
    def fault(self) -> BaseException | None:
        """What a listener raised, or what else ended the bus."""
        return self._inbox.fault

    @property
    def connected(self) -> bool:
        """Whether no part of the bus is known to be away."""
        return not self._inbox.down

    @property
    def down_seconds(self) -> float:
        """How long it was not, in all."""
        return self._inbox.down_seconds

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish all of them, within the deadline. What cannot be published is lost, which the log says."""
        messages = [Message(_name(topic_of(event)), encode_event(event)) for event in events]
        if not messages:
            return
        try:
            await self._island.run(self._publish, messages)
        except (BusDown, IslandClosed) as error:
            if not self._failing:  # once for each outage: a busy node publishes hundreds of times a second
                _log.warning("%d events were not published: %s", len(events), error)
            self._failing = True
        else:
            self._failing = False

    @contextmanager
    def listen(self, receive: Callable[[Event], None], resync: Resync) -> Iterator["_Listener"]:
        """Hear what is published while the block runs. What the two functions raise ends the bus: it is a bug."""
        listener = _Listener(receive, resync, self._want)
        self._listeners += (listener,)
        try:
            yield listener
        finally:
            listener.listens = False
            self._listeners = tuple(each for each in self._listeners if each is not listener)
            for conversation in tuple(listener.conversations):
                listener.unsubscribe(conversation)

    async def open_wire(self) -> None:
        """On the asyncio side: hear, from now until `close_wire`. Raises BusDown."""
        await self._wire.open(self._inbox)

    async def close_wire(self) -> None:
        """On the asyncio side: close all connections."""
        self._inbox.close()
        if self._confession is not None:
            # Before the wire closes, or it would try to publish on a closed one for ever.
            self._confession.cancel()
            await asyncio.wait((self._confession,))
        await self._wire.aclose()

    async def _publish(self, messages: list[Message]) -> None:
        try:
            async with asyncio.timeout(self._timeouts.answer):
                try:
                    await self._wire.publish(messages)
                except BusDown:
                    # Once more, on a new connection: only the old one may have been dead. Heard twice does no harm.
                    await self._wire.publish(messages)
        except BaseException as error:  # cancelled, too: nobody knows then what was heard
            self._confess_soon()
            if isinstance(error, TimeoutError):
                raise BusDown("it did not answer in time") from error
            raise

    def _confess_soon(self) -> None:
        # Those who listen may have a sound connection and no reason to look. The alternative, to keep what was not
        # published and try it again, needs a bound, and loses what is beyond it; this is one small text.
        if self._confession is None or self._confession.done():
            self._confession = asyncio.get_running_loop().create_task(self._confess())

    async def _confess(self) -> None:
        for pause in retry_pauses(self._timeouts):
            await asyncio.sleep(pause)
            with contextlib.suppress(BusDown, TimeoutError):
                async with asyncio.timeout(self._timeouts.answer):
                    await self._wire.publish([Message(FLEET, RESYNC)])
                    return

    def _want(self, conversation: ConversationId, listeners: int) -> None:
        self._wanted[conversation] += listeners
        wanted = self._wanted[conversation]
        if wanted == 0:
            del self._wanted[conversation]
        if wanted == 0 or (wanted == 1 and listeners > 0):
            # All that change within one pass of the Trio side cross in one call, and leave in one write.
            self._changes.append((_name(conversation), wanted > 0))
            if not self._changes_rung:
                self._changes_rung = True
                self._island.call_soon(self._pass_changes)

    def _pass_changes(self) -> None:
        # Lowered before the queue is read, as in the island: what comes meanwhile rings again.
        self._changes_rung = False
        # Of several changes of one topic the last one counts: the wire must not unsubscribe what is wanted again.
        changes: dict[str, bool] = {}
        while self._changes:
            topic, wanted = self._changes.popleft()
            changes[topic] = wanted
        self._wire.subscribe([topic for topic, wanted in changes.items() if wanted])
        self._wire.unsubscribe([topic for topic, wanted in changes.items() if not wanted])

    def _receive(self, text: str) -> None:
        if not text:
            self._resync(None)
            return
        try:
            events = decode_events(text)
        except MalformedEvent as error:
            _log.warning("%s: it has %d characters", error, len(text))
            return
        for event in events:
            topic = topic_of(event)
            for listener in self._listeners:
                if listener.listens and (topic is None or topic in listener.conversations):
                    listener.receive(event)

    def _resync(self, lost: Lost) -> None:
        conversations = None if lost is None else frozenset(ConversationId(UUID(topic)) for topic in lost)
        for listener in self._listeners:
            if listener.listens:  # one may have ended another's block
                listener.resync(conversations)


class _Listener:
    """Keeps the promises of `domain.ports.BusListener`."""

    def __init__(
        self, receive: Callable[[Event], None], resync: Resync, want: Callable[[ConversationId, int], None]
    ) -> None:
        self.receive = receive
        self.resync = resync
        self.listens = True
        self.conversations: set[ConversationId] = set()
        self._want = want

    def subscribe(self, conversation: ConversationId) -> None:
        if conversation not in self.conversations:
            self.conversations.add(conversation)
            self._want(conversation, 1)

    def unsubscribe(self, conversation: ConversationId) -> None:
        if conversation in self.conversations:
            self.conversations.remove(conversation)
            self._want(conversation, -1)


def _name(conversation: ConversationId | None) -> str:
    return FLEET if conversation is None else conversation.hex
