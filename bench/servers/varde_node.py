"""Varde: the real node, `relay.node.run_node`, with its listeners, admission, Noise, tickets and journal.

Two things are not as in production, and only here: the stores hold no database (`varde_stores.py`), and the limits that
protect a node from one address or one device are lifted, because all load comes from this machine.
"""

import logging
import os
import time
from pathlib import Path
from random import SystemRandom
from typing import Final

import trio

from bench.keys import read_node
from bench.rooms import Plan
from bench.servers.program import announce, argument_parser
from bench.servers.varde_stores import open_counting_stores
from relay.node import run_node
from relay.services import Dependencies
from relay.socket.tls_certificate import TlsCertificate
from settings.relay import RelaySettings, TlsFiles
from varde_contract.noise import KeyPair

LIFTED: Final = 1_000_000_000


def config_of() -> RelaySettings:
    """Return the node's defaults, but for what would protect it from this benchmark."""
    default = RelaySettings()
    return RelaySettings(
        port=0,
        connections=LIFTED,
        handshakes_per_address=default.handshakes,
        strangers_per_address=default.strangers,
        connects_per_second=LIFTED,
        frames_per_second=LIFTED,
        bytes_per_second=LIFTED,
    )


def dependencies_of(folder: Path, files: TlsFiles | None) -> Dependencies:
    """Return the node's keys, certificate, time and chance."""
    secrets = read_node(folder)
    return Dependencies(
        static=KeyPair.from_private(secrets.private),
        ticket_public=secrets.ticket_public,
        clock=_read_clock,
        entropy=os.urandom,
        random=SystemRandom(),
        certificate=None if files is None else TlsCertificate(files, _read_clock),
    )


async def run(config: RelaySettings, plan: Plan, dependencies: Dependencies) -> None:
    """Serve until the process is killed."""
    async with trio.open_nursery() as nursery:
        address = await nursery.start(run_node, config, open_counting_stores(plan), dependencies, trio.Event())
        announce(int(address.rpartition(":")[2]))


def _read_clock() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    PARSER = argument_parser(__doc__)
    PARSER.add_argument("--plan", type=Plan, required=True, help="the rooms, such as 50x2,1x100")
    PARSER.add_argument("--folder", type=Path, required=True, help="where varde_keys.py wrote")
    GIVEN = PARSER.parse_args()
    logging.basicConfig(level=logging.WARNING)
    FILES = TlsFiles(Path(GIVEN.certificate), Path(GIVEN.key)) if GIVEN.certificate else None
    trio.run(run, config_of(), GIVEN.plan, dependencies_of(GIVEN.folder, FILES))
