"""Work that goes on until a signal ends it, as a supervisor on a terminal does it.

What the work is, nobody knows here.
"""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import trio

from supervisor.voice import Voice
from varde_contract.exception_groups import ungrouped


async def run_until_signal(
    work: Callable[[trio.Event], Awaitable[None]],
    voice: Voice,
    *,
    reload: Callable[[], None] | None = None,
) -> None:
    """Run `work` until SIGINT, SIGTERM or SIGHUP, then cancel it; a second one sets the event it was given: hurry.

    With `reload`, SIGHUP calls it and stops nothing. Raises what the work raises, without groups around it.
    """
    hurry = trio.Event()
    with ungrouped(), trio.open_signal_receiver(*_signals(hangup=reload is not None)) as signals:
        async with trio.open_nursery() as nursery:
            working = trio.CancelScope()

            def stop(name: str) -> None:
                if working.cancel_called:
                    voice.say(f"{name} again: killing what still runs")
                    hurry.set()
                else:
                    voice.say(f"{name}: stopping; once more kills at once")
                    working.cancel()

            nursery.start_soon(_heed, signals, stop, reload)
            with working:
                await work(hurry)
            nursery.cancel_scope.cancel()


def _signals(*, hangup: bool) -> Iterator[signal.Signals]:
    yield from (signal.SIGINT, signal.SIGTERM)
    # Under nohup it is ignored, and a closed terminal shall not stop anything.
    if hangup or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


async def _heed(signals: AsyncIterator[int], stop: Callable[[str], None], reload: Callable[[], None] | None) -> None:
    async for number in signals:
        if number == signal.SIGHUP and reload is not None:
            reload()
        else:
            stop(signal.Signals(number).name)
