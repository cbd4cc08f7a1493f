"""Receipts on their way to the store: gathered for a moment, stored in batches, then told to others."""

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
MOST_WAITING: Final = 100_000
"""Positions in memory while the database is away; about 30 MB."""
TOLD_AT_ONCE: Final = 16
"""Receipts told between two checkpoints, half a millisecond: messages that wait behind them are worth more."""


class Receipts:
    """One task stores what all connections confirm."""

    def __init__(  # noqa: PLR0913 - each part is named where it is handed in
        self,
        store: MailboxStore,
        *,
        rosters: Rosters,
        notifier: Notifier,
        announce: Callable[[DeliveredMoved | ReadMoved], None],
        flush_scheduler: FlushScheduler,
        outage: Outage,
        node: str,
        pause: float,
        metrics: Metrics,
    ) -> None:
        """`announce` tells the other nodes, `node` is this one's name, `pause` is how long receipts gather."""
        self._store = store
        self._rosters = rosters
        self._notifier = notifier
        self._announce = announce
        self._flush_scheduler = flush_scheduler
        self._outage = outage
        self._node = node
        self._pause = pause
        self._metrics = metrics
        self._gathered = PendingReceipts()
        self._work = trio.lowlevel.ParkingLot()

    def confirm_nowait(self, confirmation: Confirmation) -> Refused | None:
        """Take in what a device holds. Refuses `unavailable` when too many wait for the database."""
        return self._take(lambda: self._gathered.confirm(confirmation))

    def mark_nowait(self, mark: ReadMark) -> Refused | None:
        """Take in what a profile has read. Refuses `unavailable` when too many wait for the database."""
        return self._take(lambda: self._gathered.mark(mark))

    @property
    def idle(self) -> bool:
        """Whether nothing waits."""
        return not self._gathered

    @property
    def waiting(self) -> int:
        """Positions on their way to the store."""
        return len(self._gathered)

    async def run(self) -> NoReturn:
        """Store and tell, for as long as the node lives."""
        while True:
            while not self._gathered:
                await self._work.park()  # without a deadline: nobody may ever read anything
            await trio.sleep(self._pause)
            try:
                await self._store_delivered()
                await self._store_read()
            except StoreUnavailable:
                self._metrics.failed_receipts += 1
                self._outage.failed()
                await trio.sleep(RETRY)

    def _take(self, gather: Callable[[], None]) -> Refused | None:
        if len(self._gathered) >= MOST_WAITING:
            return UNAVAILABLE
        gather()
        self._work.unpark_all()
        return None

    async def _store_delivered(self) -> None:
        confirmations = self._gathered.take_confirmations(BATCH)
        if not confirmations:
            return
        try:
            moved = await self._store.confirm(confirmations)
        except BaseException:  # the end of the node as well: whoever shuts it down may still want to flush
            for confirmation in confirmations:
                self._gathered.confirm(confirmation)
            raise
        self._note_stored(len(confirmations))
        unknown: list[Confirmation] = []
        for start in range(0, len(moved), TOLD_AT_ONCE):
            unknown += self._tell_some_delivered(moved[start : start + TOLD_AT_ONCE])
            await trio.lowlevel.checkpoint()
        for confirmation in unknown:
            with suppress(StoreUnavailable):  # stored it is; who is not told now sees it with the next one
                roster = await self._rosters.get(confirmation.conversation)
                if roster is not None:
                    self._tell_delivered(roster, confirmation)

    def _tell_some_delivered(self, moved: Sequence[Confirmation]) -> list[Confirmation]:
        """Tell those whose rosters are at hand; return the others."""
        unknown = []
        with self._flush_scheduler.gather():
            for confirmation in moved:
                roster = self._rosters.get_nowait(confirmation.conversation)
                if roster is None:
                    unknown.append(confirmation)
                else:
                    self._tell_delivered(roster, confirmation)
        return unknown

    def _tell_delivered(self, roster: Roster, confirmation: Confirmation) -> None:
        for profile in roster.devices.get(confirmation.device, ()):
            moved = DeliveredMoved(self._node, confirmation.conversation, profile, confirmation.upto)
            self._announce(moved)
            self._notifier.notify_from(roster, moved)

    async def _store_read(self) -> None:
        marks = self._gathered.take_marks(BATCH)
        if not marks:
            return
        try:
            moved = await self._store.mark_read([(mark.conversation, mark.profile, mark.upto) for mark in marks])
        except BaseException:  # as above
            for mark in marks:
                self._gathered.mark(mark)
            raise
        self._note_stored(len(marks))
        for index in moved:
            mark = marks[index]
            with suppress(StoreUnavailable):  # as above
                await self._tell(ReadMoved(self._node, mark.conversation, mark.profile, mark.upto))

    def _note_stored(self, positions: int) -> None:
        self._metrics.receipt_batches.observe(positions)
        self._metrics.stored_receipts += positions

    async def _tell(self, moved: DeliveredMoved | ReadMoved) -> None:
        self._announce(moved)
        await self._notifier.tell(moved)
