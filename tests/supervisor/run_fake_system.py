"""Runs `varde up` with fake programs, or a fleet of relays: `python run_fake_system.py DATA READY_FILE WORKERS`."""

import sys
from pathlib import Path

import trio

from settings.environment import Address
from supervisor.foreground import run_fleet, run_up
from supervisor.log_output import LogOutput
from supervisor.settings import SystemSettings


def main() -> None:
    """Run until a signal comes."""
    data, ready_file, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    settings = SystemSettings(
        data=data,
        api_bind=Address("127.0.0.1", 0),
        relay_bind=Address("127.0.0.1", 0),
        relay_workers=workers,
        tls=workers > 1,
        python=(sys.executable, "-I", "-S", str(Path(__file__).with_name("fake_programs.py"))),
    )
    log = LogOutput(sys.stdout, colour=False)
    if workers > 1:
        trio.run(run_fleet, settings, log, lambda _fleet: log.say("welcome"))
    else:
        trio.run(lambda: run_up(settings, log, welcome=lambda _system: "welcome", ready_file=ready_file))


if __name__ == "__main__":
    main()
