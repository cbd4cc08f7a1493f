"""Runs `varde up` with stand-in programs: `python run_fake_house.py DATA READY_FILE`.

No test lives here: it is a program that tests start and kill.
"""

import sys
from pathlib import Path

import trio

from varde.supervisor.ports import Address
from varde.supervisor.settings import HouseSettings
from varde.supervisor.up import run_up
from varde.supervisor.voice import Voice


def main() -> None:
    """Run until a signal comes."""
    data, ready_file = map(Path, sys.argv[1:])
    settings = HouseSettings(
        data=data,
        api_bind=Address("127.0.0.1", 0),
        relay_bind=Address("127.0.0.1", 0),
        python=(sys.executable, "-I", "-S", str(Path(__file__).with_name("fake_programs.py"))),
    )
    voice = Voice(sys.stdout, colour=False)
    trio.run(lambda: run_up(settings, voice, welcome=lambda _house: "welcome", ready_file=ready_file))


if __name__ == "__main__":
    main()
