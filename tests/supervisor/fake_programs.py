"""Fake programs, run as `python fake_programs.py relay` and so on: they announce and wait.

Nothing of the product is imported: what is tested is how the supervisor treats any program.

What each does is controlled by files in `$VARDE_DATA/behaviour/`, named after the program:

    crash       write a line and end
    mute        never say that it is ready
    stubborn    ignore the stop signal
    slow        stop when the file is empty again

Each records what happens to it in `$VARDE_DATA/history`. A relay of a fleet listens where others may, and goes on at
SIGHUP.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

DATA = Path(os.environ["VARDE_DATA"])


def main() -> int:
    """Play the program that the arguments name."""
    match sys.argv[1:]:
        case ["storage", "url", "--data", folder]:
            say(f"postgresql://fake/{folder}")
            return 0
        case ["storage", "migrate"]:
            return play_migrate()
        case ["storage", "postgres", *_]:
            return play_server("postgres", "LOG:  database system is ready to accept connections")
        case [("relay" | "api") as name]:
            with socket.create_server(address(name), reuse_port="VARDE_RELAY_REUSE_PORT" in os.environ):
                ready = json.dumps({"ready": name, "address": os.environ[f"VARDE_{name.upper()}_BIND"]})
                return play_server(name, ready)
        case ["worker"]:
            return play_server("worker", json.dumps({"ready": "worker", "address": "its-id"}))
    return 2


def play_migrate() -> int:
    """Say which database it was given, and end."""
    record("migrate", os.environ["VARDE_DATABASE_URL"])
    say("the database is at 0001")
    return 3 if behaviour("migrate") == "crash" else 0


def play_server(name: str, ready: str) -> int:
    """Announce, then wait for a signal."""
    record("start", name)
    if behaviour(name) == "crash":
        say(f"{name}: something is very wrong")
        return 7
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    if behaviour(name) != "mute":
        say(ready)
    while True:
        number = signal.sigwait(signals)
        record(signal.Signals(number).name, name)
        if number == signal.SIGHUP:
            continue
        while behaviour(name) == "slow":
            time.sleep(0.01)  # a file: there is no event
        if behaviour(name) != "stubborn":
            return 0


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def address(name: str) -> tuple[str, int]:
    """Where the program shall listen."""
    host, _, port = os.environ[f"VARDE_{name.upper()}_BIND"].rpartition(":")
    return host, int(port)


def behaviour(name: str) -> str:
    """What this program was told to do, now."""
    file = DATA / "behaviour" / name
    return file.read_text() if file.exists() else ""


def record(what: str, of: str) -> None:
    """Add a line, whole."""
    with (DATA / "history").open("a") as history:
        history.write(f"{what} {of}\n")


if __name__ == "__main__":
    sys.exit(main())
