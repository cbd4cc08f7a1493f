"""The relay's program over a real PostgreSQL, and the stores beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from domain.people.tickets import TicketIssuer
from domain.ports import Stores
from domain.talk import model as talk
from settings.storage import DatabaseUrl, StorageSettings
from storage.keys import open_keys
from storage.stores import open_storage
from tests.cast import CastDevice, alice, bob, open_conversation, settle
from tests.relay.library_clients import Credentials
from varde_contract import frames as f
from varde_contract.session import PROTOCOL_VERSION, Pattern

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30


@asynccontextmanager
async def open_stores(url: str) -> AsyncIterator[Stores]:
    """Connect to the test's database."""
    async with open_storage(StorageSettings(database=DatabaseUrl(url), pool_min=1, pool_max=4)) as stores:
        yield stores


async def open_roster(stores: Stores) -> talk.Roster:
    """Settle Alice and Bob and open their conversation."""
    await settle(stores, alice, bob)
    conversation = await open_conversation(stores, alice, bob)
    return (await stores.conversations.rosters([conversation]))[conversation]


class Program:
    """`python -m relay`, and what it takes to call it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.keys = open_keys(folder / "keys")
        self.log = folder / "relay.log"
        self.environ = os.environ | {
            "VARDE_DATA": str(folder),
            "VARDE_DATABASE_URL": url,
            "VARDE_RELAY_BIND": "127.0.0.1:0",
            "VARDE_RELAY_DRAIN_SECONDS": "1",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self, **environ: str) -> None:
        """Start it, and wait for its word."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                (sys.executable, "-m", "relay"),
                env=self.environ | environ,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        said = json.loads(line)
        assert said["ready"] == "relay"
        self.url = said["address"]

    def end(self, how: signal.Signals) -> int:
        """Send a signal and return how it ended."""
        self.tell(how)
        return self.wait()

    def tell(self, how: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(how)

    def wait(self) -> int:
        """Return how it ended."""
        assert self.process is not None
        code = self.process.wait(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return code

    def credentials(self, device: CastDevice) -> Credentials:
        """What a device comes in with: a ticket of now."""
        issuer = TicketIssuer(self.keys.ticket_private, entropy=os.urandom)
        ticket = issuer.issue(device.model, read_ms=time.time_ns() // 1_000_000).text
        hello = f.Hello(PROTOCOL_VERSION, ticket, device.id)
        return Credentials(device.noise, hello, self.keys.relay_public, Pattern.IK)
