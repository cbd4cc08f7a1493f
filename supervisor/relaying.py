"""`varde relay --workers N`: the fleet on a terminal or under a service manager, until a signal ends it.

What lives in the fleet is in `fleet.py`; the options are in `commands.py`.
"""

from collections.abc import Callable

import trio

from supervisor.fleet import Fleet, open_fleet
from supervisor.settings import HouseSettings
from supervisor.until_signal import run_until_signal
from supervisor.voice import Voice


async def run_fleet(settings: HouseSettings, voice: Voice, announce: Callable[[Fleet], None]) -> None:
    """Run the fleet until SIGINT or SIGTERM, then drain all of it at once; a second one kills.

    SIGHUP is passed on where the workers have certificates to read again; elsewhere it stops them, too. `announce` is
    called once, when all workers are ready. Raises what `open_fleet` raises.
    """
    fleets: list[Fleet] = []
    asked = trio.Event()

    def reload() -> None:
        asked.set()
        for fleet in fleets:
            fleet.reload()

    async def work(hurry: trio.Event) -> None:
        async with open_fleet(settings, voice.tell, hurry=hurry) as fleet:
            fleets.append(fleet)
            if asked.is_set():  # some may have read theirs before
                fleet.reload()
            announce(fleet)
            await trio.sleep_forever()  # a signal cancels it

    await run_until_signal(work, voice, reload=reload if settings.tls else None)
    voice.say("all workers have stopped")
