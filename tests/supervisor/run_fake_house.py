"""Runs `varde up` with stand-in programs, or a fleet of relays: `python run_fake_house.py DATA READY_FILE WORKERS`.

No test lives here: it is a program that tests start and kill.
"""

import sys
from pathlib import Path

import trio

from settings.environment import Address
from supervisor.relaying import run_fleet
from supervisor.settings import HouseSettings
from supervisor.up import run_up
from supervisor.voice import Voice


def main() -> None:
    """Run until a signal comes."""
    data, ready_file, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    settings = HouseSettings(
        data=data,
        api_bind=Address("127.0.0.1", 0),
        relay_bind=Address("127.0.0.1", 0),
        relay_workers=workers,
        tls=workers > 1,
        python=(sys.executable, "-I", "-S", str(Path(__file__).with_name("fake_programs.py"))),
    )
    voice = Voice(sys.stdout, colour=False)
    if workers > 1:
        trio.run(run_fleet, settings, voice, lambda _fleet: voice.say("welcome"))
    else:
        trio.run(lambda: run_up(settings, voice, welcome=lambda _house: "welcome", ready_file=ready_file))


if __name__ == "__main__":
    main()
