"""`varde up`: the house on a terminal, until a signal ends it.

What lives in the house is `house.py`; the options are in `varde/command/up.py`.
"""

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import trio

from varde.supervisor.cause import ungrouped
from varde.supervisor.happenings import Happening, Up
from varde.supervisor.house import House, open_house
from varde.supervisor.ready_file import write_ready_file
from varde.supervisor.settings import HouseSettings
from varde.supervisor.voice import Voice


async def run_up(
    settings: HouseSettings, voice: Voice, *, welcome: Callable[[House], str], ready_file: Path | None = None
) -> None:
    """Run the house until SIGINT, SIGTERM or SIGHUP, then stop it in order; a second signal kills what still runs.

    Raises what `open_house` raises.
    """
    hurry = trio.Event()
    with ungrouped(), trio.open_signal_receiver(*_signals()) as signals:
        async with trio.open_nursery() as nursery:
            working = trio.CancelScope()
            nursery.start_soon(_heed, signals, working, hurry, voice)
            with working:
                await _run_house(settings, voice, welcome, ready_file, hurry)
            nursery.cancel_scope.cancel()
    voice.say("everything has stopped; the data stays in its folder")


async def _run_house(
    settings: HouseSettings,
    voice: Voice,
    welcome: Callable[[House], str],
    ready_file: Path | None,
    hurry: trio.Event,
) -> None:
    running: list[House] = []

    def write_ready() -> None:
        if ready_file and running:
            write_ready_file(ready_file, running[0])

    def tell(happening: Happening) -> None:
        voice.tell(happening)
        if isinstance(happening, Up):
            write_ready()

    async with open_house(settings, tell, hurry=hurry) as house:
        running.append(house)
        write_ready()
        voice.say(welcome(house))
        await trio.sleep_forever()


def _signals() -> Iterator[signal.Signals]:
    yield from (signal.SIGINT, signal.SIGTERM)
    # Under nohup it is ignored, and a closed terminal shall not stop anything.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


async def _heed(signals: AsyncIterator[int], working: trio.CancelScope, hurry: trio.Event, voice: Voice) -> None:
    async for number in signals:
        name = signal.Signals(number).name
        if working.cancel_called:
            voice.say(f"{name} again: killing what still runs")
            hurry.set()
        else:
            voice.say(f"{name}: stopping; once more kills at once")
            working.cancel()
