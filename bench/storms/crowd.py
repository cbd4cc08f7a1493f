"""The program `python -m bench.storms.crowd`: a room full of listeners, and the one who floods it when told.

A process of its own, and a less urgent one, so that what the pair beside it waits for is the server and not this.
"""

import argparse
import json
import os
import sys
from itertools import repeat
from pathlib import Path
from typing import Any, Final

from bench.driving import measure_window
from bench.hosting import Server
from bench.lines import Exchange
from bench.storms.members import crowd_of, make_clients, plan_of

AT_ONCE: Final = 100
DEADLINE: Final = 120.0
LESS_URGENT: Final = 10


def run(server: str, at: Server, listeners: int, folder: Path, rate: float, pace: tuple[float, float]) -> None:
    """Connect everybody, wait to be told, flood for `pace` seconds (warm-up, then measured), and say what happened."""
    plan, warm_up = plan_of(listeners), pace[0]
    with Exchange(at.port) as exchange:
        clients = make_clients(server, at.authority, plan, crowd_of(plan), folder)
        lines = exchange.connect(clients, at_once=AT_ONCE, deadline=DEADLINE)
        say({"ready": len(lines)})
        # The pings of the quiet time before must be answered too.
        wait_for_line(exchange)
        window = measure_window(
            at, exchange, lines, rate=rate, warm_up=warm_up, seconds=pace[1], turn=lambda lines: repeat(lines[0])
        )
    say(
        {
            "deliveries_per_second": window.deliveries / window.seconds,
            "server_cores": window.server_cpu / window.seconds,
            "generator_cores": window.generator_load,
            "generator_bound": window.generator_bound,
            "sent": window.sent,
            "held_back": window.held_back,
        }
    )


def wait_for_line(exchange: Exchange) -> None:
    """Serve the lines until there is one on stdin, or its end."""
    os.set_blocking(sys.stdin.fileno(), False)
    while True:
        exchange.pull(0.02)
        try:
            os.read(sys.stdin.fileno(), 1)
        except BlockingIOError:
            continue
        return


def say(words: dict[str, Any]) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.nice(LESS_URGENT)
    PARSER = argparse.ArgumentParser(description=__doc__)
    PARSER.add_argument("--server", required=True)
    PARSER.add_argument("--pid", type=int, required=True)
    PARSER.add_argument("--port", type=int, required=True)
    PARSER.add_argument("--listeners", type=int, required=True)
    PARSER.add_argument("--folder", type=Path, required=True)
    PARSER.add_argument("--rate", type=float, required=True, help="messages a second into the room")
    PARSER.add_argument("--warm-up", type=float, required=True)
    PARSER.add_argument("--seconds", type=float, required=True)
    GIVEN = PARSER.parse_args()
    AT = Server(GIVEN.pid, GIVEN.port)
    run(GIVEN.server, AT, GIVEN.listeners, GIVEN.folder, GIVEN.rate, (GIVEN.warm_up, GIVEN.seconds))
