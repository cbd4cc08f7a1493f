"""Running the asynchronous part of a command: Ctrl-C and SIGTERM cancel it, so that everything is closed in order.

Nobody has to wait for that: a second Ctrl-C ends the process where it stands, which the local store is made for.
"""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import trio

from varde_contract.exception_groups import ungrouped

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_client(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` to its end and return what it returns. Raises KeyboardInterrupt when a signal ended it."""
    with ungrouped():
        return trio.run(_run_until_signal, work)


async def _run_until_signal(work: Callable[[], Awaitable[T]]) -> T:
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            working = trio.CancelScope()
            nursery.start_soon(_heed, signals, working)
            with working:
                result = await work()
                nursery.cancel_scope.cancel()
                return result
            nursery.cancel_scope.cancel()
    raise KeyboardInterrupt


async def _heed(signals: AsyncIterator[int], working: trio.CancelScope) -> None:
    async for _ in signals:
        if working.cancel_called:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        working.cancel()
