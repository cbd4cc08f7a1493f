"""Keeps the table of revocations up to date, and cuts the connections that a revocation concerns."""

import logging
from contextlib import suppress
from typing import Final, NoReturn

import trio

from domain.people.events import TicketsRevoked
from domain.people.model import Revocation
from domain.people.ports import DeviceStore
from domain.people.revocations import Revocations
from domain.people.tickets import LIFETIME, SKEW, TicketChecker
from domain.ports import Clock, StoreUnavailable
from relay.cache.outage import RETRY, Outage
from relay.connection.peer import Peer
from relay.delivery.hub import Hub
from relay.frames.refusals import close_code
from relay.metrics.counters import Metrics

REFRESH: Final = 60.0
"""Seconds between two snapshots, in case the bus lost a revocation without noticing."""

_log: Final = logging.getLogger("varde.relay")


class RevocationFeed:
    """Feeds the table that tickets are checked against, from the bus and from snapshots of the store."""

    def __init__(
        self,
        store: DeviceStore,
        table: Revocations,
        *,
        checker: TicketChecker,
        hub: Hub,
        outage: Outage,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._table = table
        self._checker = checker
        self._hub = hub
        self._outage = outage
        self._clock = clock
        self._metrics = metrics
        self._loaded_at = trio.current_time()
        self._asked = trio.Event()

    def note_event(self, event: TicketsRevoked) -> None:
        """Note a revocation from the bus, and cut its device."""
        self._note(Revocation(event.device, event.not_before_ms, event.final))

    async def look(self, since_ms: int) -> None:
        """Note what was written since then, whatever the bus said of it. During an outage, do nothing."""
        # Not reported as an outage, for the reason that `relay.fleet.journal_tail` gives.
        with suppress(StoreUnavailable):
            for revocation in await self._store.revocations(since_ms):
                self._note(revocation)

    async def load(self) -> None:
        """Read a snapshot, and cut the devices in it. Raises StoreUnavailable."""
        # Older revocations only concern tickets that have expired by now.
        since_ms = self._clock() - LIFETIME - SKEW
        for revocation in await self._store.revocations(since_ms):
            self._table.note(revocation)
        self._table.forget_before(since_ms)
        self._metrics.revocations_loaded += 1
        self._loaded_at = trio.current_time()
        self.judge_all()

    @property
    def age(self) -> float:
        """Seconds since the last snapshot."""
        return trio.current_time() - self._loaded_at

    def ask(self) -> None:
        """Have a snapshot read soon, because the bus may have lost something, or the database may be back."""
        self._asked.set()

    async def run(self) -> NoReturn:
        """Read a snapshot when it is asked for and once in REFRESH, for as long as the node lives."""
        while True:
            with trio.move_on_after(REFRESH):
                await self._asked.wait()
            # Before the snapshot: whoever asks while it is read needs another one.
            self._asked = trio.Event()
            try:
                await self.load()
                self._outage.answered()
            except StoreUnavailable:
                self._metrics.revocations_failed += 1
                self._outage.failed()
                _log.warning("revocations were not refreshed: the database is away")
                self._asked.set()
                await trio.sleep(RETRY)

    def _note(self, revocation: Revocation) -> None:
        self._table.note(revocation)
        peer = self._hub.find(revocation.device)
        if peer is not None:
            self.judge(peer)

    def judge(self, peer: Peer) -> bool:
        """Cut a peer whose ticket has expired or was revoked. Whether it may stay."""
        refused = self._checker.judge_again(peer.ticket)
        if refused is not None:
            peer.connection.cut(close_code(refused.code))
        return refused is None

    def judge_all(self) -> None:
        """Check every connected peer."""
        for peer in self._hub.peers:
            self.judge(peer)
