"""The checkpoints job: what is pending is sequenced and signed every second, and witnesses cosign every minute."""

import logging
from typing import Final, NoReturn

import trio

from domain.ports import Clock, Stores, StoreUnavailable
from domain.transparency.ports import LogStore
from domain.transparency.sequencing import LogFault, LogSigner, Signed, sequence
from observability.tracing import span
from settings.worker import WorkerSettings
from varde_contract.transparency.policy import Policy
from worker.witnesses import Witnesses

FAULT_PAUSE: Final = 60.0
"""Seconds. A person has to look; until then the log says so once a minute."""

_log: Final = logging.getLogger("varde.worker")


class Checkpoints:
    """The job, with the key of the log and the policy that names its witnesses."""

    def __init__(self, key: LogSigner, policy: Policy | None) -> None:
        self._key = key
        self._policy = policy

    async def run(self, settings: WorkerSettings, stores: Stores, clock: Clock) -> NoReturn:
        """Sign and have signed, until cancelled. An outage of the store only delays it."""
        async with trio.open_nursery() as nursery:
            if self._policy is not None:
                nursery.start_soon(self._run_witnesses, self._policy, stores.transparency, settings.witness_pause)
            await self._run_sequencing(settings, stores.transparency, clock)

    async def _run_sequencing(self, settings: WorkerSettings, store: LogStore, clock: Clock) -> NoReturn:
        while True:
            pause = settings.checkpoint_pause
            try:
                with span("checkpoint"):
                    head = await sequence(store, self._key.signers, clock(), self._key.last())
                if head is not None:
                    # After the commit. Before it, a crash in between would leave a size that the database never had,
                    # and nothing could be signed any more. Not in a thread: nobody here waits for the loop.
                    self._key.remember(Signed(head.size, head.root))
            except StoreUnavailable:
                pass
            except LogFault as fault:
                _log.critical("the transparency log is not signed: %s", fault)
                pause = FAULT_PAUSE
            await trio.sleep(pause)

    async def _run_witnesses(self, policy: Policy, store: LogStore, pause: float) -> NoReturn:
        async with Witnesses(policy, store) as witnesses:
            while True:
                try:
                    if not await witnesses.ask_all():
                        _log.warning("too few witnesses have cosigned the transparency log")
                except StoreUnavailable:
                    pass
                await trio.sleep(pause)
