"""The retention job: sweep, and end the time of devices, again and again."""

from typing import NoReturn

import trio

from domain.people.device_lists import expire_devices
from domain.ports import Clock, Stores, StoreUnavailable
from domain.retention.sweep import sweep
from observability.tracing import span
from settings.worker import WorkerSettings


async def run_retention(settings: WorkerSettings, stores: Stores, clock: Clock) -> NoReturn:
    """Sweep at once, then after every pause. An outage of the store only delays it."""
    while True:
        try:
            with span("retention"):
                await _run_once(stores, clock)
        except StoreUnavailable:
            pass  # what it would have deleted is deleted after the next pause
        await trio.sleep(settings.sweep_pause)


async def _run_once(stores: Stores, clock: Clock) -> None:
    while await expire_devices(stores.devices, stores.bus, now_ms=clock()):
        await trio.lowlevel.checkpoint()
    while await sweep(stores.retention, now_ms=clock()):
        await trio.lowlevel.checkpoint()
