"""The wire over Valkey or Redis: one server with pub/sub, or a cluster with sharded pub/sub.

A server hears only of topics that somebody subscribed to, and passes an event once to each process that did.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

from settings.bus import ValkeyServers
from settings.environment import Address
from storage.bus.inbox import Inbox
from storage.bus.valkey_link import (
    LOST,
    PLAIN,
    PREFIX,
    SHARDED,
    ValkeyLink,
    make_connection,
    open_connection,
    run_until_first_end,
)
from storage.bus.wire import FLEET, BusDown, Message, Timeouts, pack

TEXT_LIMIT: Final = 64 * 1024
"""Bytes of one text: a publication is all or nothing, and the server buffers it for each subscriber."""
_REFUSED: Final = (AuthenticationError, AuthorizationError, NoPermissionError)
_log: Final = logging.getLogger(__name__)

SlotMap: TypeAlias = tuple[Address, ...]
"""The primary of each hash slot; one address alone is a single server."""


class ValkeyWire:
    """Keeps the promises of `storage.bus.wire.Wire`. It holds two connections to each primary."""

    def __init__(self, servers: ValkeyServers, timeouts: Timeouts | None = None) -> None:
        self._servers = servers
        self._timeouts = timeouts or Timeouts()
        self._slots: SlotMap = ()
        self._links: dict[Address, ValkeyLink] = {}
        self._hearing: asyncio.Task[None] | None = None
        self._topics = {FLEET}
        self._doubt = asyncio.Event()
        """Set when the map of slots may be another one by now."""
        self._opened = False
        self._closed = False

    async def open(self, inbox: Inbox) -> None:
        """Hear `FLEET`, from now until `aclose`. Raises BusDown."""
        try:
            self._slots = await self._read_slots()
            self._links = self._make_links(inbox, missed=False)
            self._hearing = inbox.start(self._hear(inbox))
            for link in self._links.values():
                await link.tried.wait()
                if isinstance(link.failure, LOST):
                    raise link.failure
        except LOST as error:
            # Not "from": a text of the library may quote what it was given.
            if isinstance(error, _REFUSED):
                raise BusDown(f"the Valkey server refuses us: {type(error).__name__}") from None
            raise BusDown(f"the Valkey server cannot be reached: {type(error).__name__}") from None
        self._opened = True

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish to all servers at once, in one write each. Raises BusDown when one of them did not take its part."""
        if self._closed:
            raise BusDown("the bus is closed")
        by_topic: defaultdict[str, list[bytes]] = defaultdict(list)
        for message in messages:
            by_topic[message.topic].append(message.event)
        by_owner: defaultdict[Address, list[tuple[str, str]]] = defaultdict(list)
        for topic, events in by_topic.items():
            by_owner[self._owner(topic)] += [(topic, text) for text in pack(events, TEXT_LIMIT)]
        results = await asyncio.gather(
            *(self._links[owner].publish(texts) for owner, texts in by_owner.items()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def subscribe(self, topics: Collection[str]) -> None:
        """Hear these topics soon."""
        self._topics.update(topics)
        for owner, owned in self._by_owner(topics).items():
            self._links[owner].subscribe(owned)

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Hear them no more, soon."""
        self._topics.difference_update(topics)
        for owner, owned in self._by_owner(topics).items():
            self._links[owner].unsubscribe(owned)

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait((self._hearing,))

    async def _hear(self, inbox: Inbox) -> None:
        """Keep the links to all primaries; begin anew with all of them when slots have moved.

        Which of the topics moved is not worth to be told apart: it happens rarely, and costs a look at heads.
        """
        while True:
            try:
                watching = (self._watch_slots(),) if self._servers.cluster else ()
                await run_until_first_end(*watching, *(link.run() for link in self._links.values()))
            except _SlotsMovedError as moved:
                _log.info("the slots of the Valkey cluster have moved")
                # Both at once: whoever publishes or subscribes in between must find a link for each owner.
                self._slots = moved.slots
                self._links = self._make_links(inbox, missed=True)

    async def _watch_slots(self) -> None:
        """Ask for the slots whenever a server is lost, or does not own what we took it to own, until they moved."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            # Nobody answers, or slots have no primary: what lost a server sets the doubt again, and the next look may
            # tell.
            with contextlib.suppress(*LOST):
                slots = await self._read_slots()
                if slots != self._slots:
                    raise _SlotsMovedError(slots)
            await asyncio.sleep(self._timeouts.first_retry)  # not for each of many who doubt at once

    def _make_links(self, inbox: Inbox, *, missed: bool) -> dict[Address, ValkeyLink]:
        verbs = SHARDED if self._servers.cluster else PLAIN
        by_owner = self._by_owner(self._topics)
        return {
            address: ValkeyLink(
                partial(make_connection, self._servers, address, self._timeouts),
                verbs,
                by_owner.get(address, ()),
                self._timeouts,
                inbox,
                partial(self._note, inbox),
                missed=missed,
            )
            for address in dict.fromkeys(self._slots)
        }

    def _note(self, inbox: Inbox, link: ValkeyLink) -> None:
        if not self._opened:
            return
        down = not all(each.up for each in self._links.values())
        if down is not inbox.down:
            why = f": {type(link.failure).__name__}" if link.failure else ""
            _log.warning("the bus is %s%s", "away" if down else "back", why)
        inbox.report(down=down)
        if not link.up or link.misled:
            link.misled = False
            self._doubt.set()

    def _owner(self, topic: str) -> Address:
        # One address without a cluster; asked for each event, so no other branch stands here.
        slots = self._slots
        return slots[0] if len(slots) == 1 else slots[key_slot(f"{PREFIX}{topic}".encode())]

    def _by_owner(self, topics: Collection[str]) -> Mapping[Address, list[str]]:
        owned: defaultdict[Address, list[str]] = defaultdict(list)
        for topic in topics:
            owned[self._owner(topic)].append(topic)
        return owned

    async def _read_slots(self) -> SlotMap:
        """Ask whoever answers first, those we know before those we were told of. Raises one of LOST."""
        if not self._servers.cluster:
            return self._servers.addresses
        failure: Exception = BusDown("no address")
        for address in dict.fromkeys((*self._links, *self._servers.addresses)):
            connection = make_connection(self._servers, address, self._timeouts)
            try:
                await open_connection(connection, self._timeouts)
                await connection.send_command("CLUSTER", "SLOTS")
                return _parse_slots(await connection.read_response(timeout=self._timeouts.answer), address)
            except LOST as error:
                failure = error
            finally:
                # Without waiting for the peer to hang up as well: it may be the one that is silent.
                await connection.disconnect(nowait=True)
        raise failure


class _SlotsMovedError(Exception):
    """Other primaries own the slots now."""

    def __init__(self, slots: SlotMap) -> None:
        super().__init__("the slots have moved")
        self.slots = slots


def _parse_slots(ranges: Any, asked: Address) -> SlotMap:
    """Read the answer to CLUSTER SLOTS. Raises ConnectionError while slots have no primary."""
    owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, (host, port, *_), *_ in ranges or ():
        owner = Address(host or asked.host, int(port))  # an empty host is the one that was asked
        owners[first : last + 1] = [owner] * (last + 1 - first)
    known = [owner for owner in owners if owner is not None]
    if len(known) < REDIS_CLUSTER_HASH_SLOTS:
        raise ConnectionError("the Valkey cluster has slots without a primary")
    return tuple(known)
