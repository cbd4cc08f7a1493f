"""`varde up`: the house on a terminal, until a signal ends it.

What lives in the house is `house.py`; the options are in `commands.py`.
"""

from collections.abc import Callable
from pathlib import Path

import trio

from supervisor.happenings import Happening, Up
from supervisor.house import House, open_house
from supervisor.ready_file import write_ready_file
from supervisor.settings import HouseSettings
from supervisor.until_signal import run_until_signal
from supervisor.voice import Voice


async def run_up(
    settings: HouseSettings, voice: Voice, *, welcome: Callable[[House], str], ready_file: Path | None = None
) -> None:
    """Run the house until SIGINT, SIGTERM or SIGHUP, then stop it in order; a second signal kills what still runs.

    Raises what `open_house` raises.
    """
    await run_until_signal(lambda hurry: _run_house(settings, voice, welcome, ready_file, hurry), voice)
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
