"""Receipts: gathered for a moment, stored in batches, then sent to others."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

import trio

from domain.ports import StoreUnavailable
from domain.talk.events import DeliveredMoved, ReadMoved
from domain.talk.model import Confirmation, Roster
from domain.talk.ports import MailboxStore
from domain.talk.receipts import PendingReceipts, ReadMark
from relay.cache.outage import RETRY, UNAVAILABLE, Outage
from relay.cache.rosters import Rosters
from relay.delivery.notifier import Notifier
from relay.metrics.counters import Metrics
from relay.socket.flush_scheduler import FlushScheduler
from varde_contract.refusals import Refused

BATCH: Final = 500
"""As many as the store takes in one transaction: each conversation takes a place in Postgres' table of locks."""
MOST_WAITING: Final = 100_000
"""Positions kept in memory while the database is away; about 30 MB."""
SENT_AT_ONCE: Final = 16
"""Receipts sent between two checkpoints, half a millisecond: the messages that wait behind them matter more."""


class Receipts:
    """Stores what all connections confirm, with one task."""

    def __init__(  # noqa: PLR0913 - each part is named where it is handed in
        self,
        store: MailboxStore,
        *,
        rosters: Rosters,
        notifier: Notifier,
        publish: Callable[[DeliveredMoved | ReadMoved], None],
        flush_scheduler: FlushScheduler,
        outage: Outage,
        node: str,
        pause: float,
        metrics: Metrics,
    ) -> None:
        """`publish` tells the other nodes, `node` is this one's name, `pause` is how long receipts gather."""
        self._store = store
        self._rosters = rosters
        self._notifier = notifier
        self._publish = publish
        self._flush_scheduler = flush_scheduler
        self._outage = outage
        self._node = node
        self._pause = pause
        self._metrics = metrics
        self._pending = PendingReceipts()
        self._work = trio.lowlevel.ParkingLot()
        self._busy = False

    def confirm_nowait(self, confirmation: Confirmation) -> Refused | None:
        """Queue what a device has received. Refuses `unavailable` when too many wait for the database."""
        return self._take(lambda: self._pending.confirm(confirmation))

    def mark_nowait(self, mark: ReadMark) -> Refused | None:
        """Queue what a profile has read. Refuses `unavailable` when too many wait for the database."""
        return self._take(lambda: self._pending.mark(mark))

    @property
    def idle(self) -> bool:
        """Whether everything was stored and told."""
        # Also what was taken out and is not answered: a drain that did not wait for it would cancel it, and the devices
        # would be sent everything again.
        return not (self._pending or self._busy)

    @property
    def waiting(self) -> int:
        """Positions that wait to be stored."""
        return len(self._pending)

    async def run(self) -> NoReturn:
        """Store and send, for as long as the node lives."""
        while True:
            while not self._pending:
                await self._work.park()  # without a deadline: nobody may ever read anything
            # Receipts of a moment share two statements; a person does not notice the pause.
            await trio.sleep(self._pause)
            self._busy = True
            try:
                await self._store_delivered()
                await self._store_read()
            except StoreUnavailable:
                self._metrics.failed_receipts += 1
                self._outage.failed()
                await trio.sleep(RETRY)
            self._busy = False

    def _take(self, gather: Callable[[], None]) -> Refused | None:
        if len(self._pending) >= MOST_WAITING:
            return UNAVAILABLE
        gather()
        self._work.unpark_all()
        return None

    async def _store_delivered(self) -> None:
        confirmations = self._pending.take_confirmations(BATCH)
        if not confirmations:
            return
        try:
            moved = await self._store.confirm(confirmations)
        except BaseException:  # cancellation too: they go back, so that a draining node can still store them
            for confirmation in confirmations:
                self._pending.confirm(confirmation)
            raise
        self._note_stored(len(confirmations))
        unknown: list[Confirmation] = []
        for start in range(0, len(moved), SENT_AT_ONCE):
            unknown += self._send_some_delivered(moved[start : start + SENT_AT_ONCE])
            await trio.lowlevel.checkpoint()
        for confirmation in unknown:
            with suppress(StoreUnavailable):  # it is stored: others see it with the next receipt
                roster = await self._rosters.get(confirmation.conversation)
                if roster is not None:
                    self._send_delivered(roster, confirmation)

    def _send_some_delivered(self, moved: Sequence[Confirmation]) -> list[Confirmation]:
        """Send those whose rosters are cached; return the others."""
        unknown = []
        with self._flush_scheduler.gather():
            for confirmation in moved:
                roster = self._rosters.get_nowait(confirmation.conversation)
                if roster is None:
                    unknown.append(confirmation)
                else:
                    self._send_delivered(roster, confirmation)
        return unknown

    def _send_delivered(self, roster: Roster, confirmation: Confirmation) -> None:
        for profile in roster.devices.get(confirmation.device, ()):
            moved = DeliveredMoved(self._node, confirmation.conversation, profile, confirmation.upto)
            self._publish(moved)
            self._notifier.notify_from(roster, moved)

    async def _store_read(self) -> None:
        marks = self._pending.take_marks(BATCH)
        if not marks:
            return
        try:
            moved = await self._store.mark_read([(mark.conversation, mark.profile, mark.upto) for mark in marks])
        except BaseException:  # as above
            for mark in marks:
                self._pending.mark(mark)
            raise
        self._note_stored(len(marks))
        for index in moved:
            mark = marks[index]
            with suppress(StoreUnavailable):  # as above
                await self._send(ReadMoved(self._node, mark.conversation, mark.profile, mark.upto))

    def _note_stored(self, positions: int) -> None:
        self._metrics.receipt_batches.observe(positions)
        self._metrics.stored_receipts += positions

    async def _send(self, moved: DeliveredMoved | ReadMoved) -> None:
        self._publish(moved)
        await self._notifier.notify(moved)
