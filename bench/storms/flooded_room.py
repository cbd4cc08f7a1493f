"""The program `python -m bench.storms.flooded_room`: a room full of listeners, and the one who floods it when told.

A process of its own, and a less urgent one, so that what the pair beside it waits for is the server and not this.
"""

import json
import os
import select
import sys
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.catalogue import CATALOGUE, VARDE
from bench.connections import Connections
from bench.fanout import measure_window
from bench.keys import make_members
from bench.measured_server import MeasuredServer
from bench.process import Server
from bench.storms.flood import FloodedRoom

AT_ONCE: Final = 100
DEADLINE: Final = 120.0
NICENESS: Final = 10


def run(room: FloodedRoom) -> None:
    """Connect everybody, wait for a line on stdin, flood, and say what happened in a line of JSON."""
    flood, plan, server = room.flood, room.flood.plan, Server(room.pid, room.port)
    keys = make_members(Path(room.folder), plan.members) if room.name == VARDE else None
    with Connections(room.port) as connections:
        measured = MeasuredServer(CATALOGUE[room.name], server, connections, plan, keys)
        members = connections.open(measured.clients(plan.blocks[flood.listeners]), at_once=AT_ONCE, deadline=DEADLINE)
        _say({"ready": len(members)})
        while not select.select((sys.stdin,), (), (), 0)[0]:  # the pings of the quiet time before must be answered too
            connections.poll(0.02)
        pace = flood.warm_up, flood.measured
        window = measure_window(server, connections, members, repeat(members[0]), flood.rate, pace)
    _say(
        {
            "deliveries_per_second": window.deliveries / window.seconds,
            "server_cores": window.server_cpu / window.seconds,
            "generator_cores": window.generator_load,
            "generator_bound": window.generator_bound,
            "sent": window.sent,
            "held_back": window.held_back,
        }
    )


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.nice(NICENESS)
    run(msgspec.json.decode(sys.argv[1], type=FloodedRoom))
