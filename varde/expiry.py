"""Deletes messages whose time is over, on this device. Each device does so by its own clock."""

import trio

from varde.clock import now_ms
from varde.event_stream import EventStream
from varde.events import Expired
from varde.store import Store


class Expiry:
    """The task that does so."""

    def __init__(self, store: Store, events: EventStream) -> None:
        self._store = store
        self._events = events
        self._changed = trio.Event()
        store.log.timers_changed = self._wake

    async def run(self) -> None:
        """Erase what is due, and wait for what is next, until the client ends."""
        while True:
            self._changed = trio.Event()
            with self._store.transaction():
                gone = self._store.log.expire(now_ms())
            for message in gone:
                self._events.publish(Expired(message.conversation, message.ref))
            due = self._store.log.next_expiry()
            # Without a deadline where nothing is to be deleted: what changes that wakes this.
            with trio.move_on_after(float("inf") if due is None else max(0.0, (due - now_ms()) / 1_000)):
                await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
