"""What a small message waits while a room of 5,000 is flooded on the same server, and what it waits when it is not."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bench.catalogue import VARDE, command_of, entry_of, missing
from bench.durable.latency import summarise
from bench.durable.measure import EXPECTED
from bench.hosting import ROOT, NoServer, Server, open_server
from bench.lines import Exchange
from bench.storms.members import make_clients, pair_of, plan_of
from bench.storms.pair import Talk, meet, talk
from loadtest.client.websocket import ServerFault

SERVERS: Final = (VARDE, "picows", "websockets")
_STOP: Final = 10.0


class Storm(Struct, frozen=True):
    """How large and how long: `rate` messages a second into the room. Seconds."""

    listeners: int = 5_000
    rate: float = 20.0
    warm_up: float = 2.0
    measured: float = 8.0


def measure_flood(server: str, storm: Storm) -> dict[str, Any]:
    """Return the pair's latencies at one server, calm and flooded; or in words what is `missing` or has `failed`."""
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as name:
        folder = Path(name)
        absent = missing(entry_of(server), folder)
        if absent is not None:
            return {"missing": absent}
        try:
            return _measure(server, storm, folder)
        except (NoServer, *EXPECTED) as fault:
            return {"failed": str(fault)}


def _measure(server: str, storm: Storm, folder: Path) -> dict[str, Any]:
    plan = plan_of(storm.listeners)
    with ExitStack() as stack:
        command = _command(server, storm, folder)
        at = stack.enter_context(open_server(command, core=None, log=folder / "server.log"))
        crowd = stack.enter_context(_open_crowd(server, at, storm, folder))
        exchange = stack.enter_context(Exchange(at.port))
        clients = make_clients(server, at.authority, plan, pair_of(plan), folder)
        speaker, hearer = exchange.connect(clients, at_once=2, deadline=_STOP)
        meet(exchange, speaker, hearer.client)
        calm = talk(exchange, speaker, hearer.client, storm.measured)
        crowd.begin()
        talk(exchange, speaker, hearer.client, storm.warm_up)
        flooded = talk(exchange, speaker, hearer.client, storm.measured)
        return {"calm": _figures(calm), "flooded": _figures(flooded), "flood": crowd.end()}


def _command(server: str, storm: Storm, folder: Path) -> list[str]:
    command = command_of(entry_of(server), folder)
    if server != VARDE:
        return command
    plan = plan_of(storm.listeners)
    issue = (sys.executable, "-m", "bench.servers.varde_keys", "--members", str(plan.members))
    subprocess.run((*issue, "--folder", str(folder)), cwd=ROOT, check=True)  # noqa: S603 - our own program
    return [*command, "--plan", plan.text, "--folder", str(folder)]


class _Crowd:
    """The other generator."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def listen(self) -> dict[str, Any]:
        """Return the next thing it says. Raises ServerFault when it ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ServerFault("the listeners of the flooded room failed")
        said: dict[str, Any] = json.loads(line)
        return said

    def begin(self) -> None:
        """Let it flood."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Return what came of the flood."""
        return self.listen()


@contextmanager
def _open_crowd(server: str, at: Server, storm: Storm, folder: Path) -> Iterator[_Crowd]:
    process = subprocess.Popen(  # noqa: S603 - our own program
        _crowd_command(server, at, storm, folder),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:  # closes the pipes and reaps it
        try:
            crowd = _Crowd(process)
            crowd.listen()
            yield crowd
        finally:
            process.kill()


def _crowd_command(server: str, at: Server, storm: Storm, folder: Path) -> Sequence[str]:
    given: dict[str, object] = {
        "server": server,
        "pid": at.pid,
        "port": at.port,
        "listeners": storm.listeners,
        "folder": folder,
        "rate": storm.rate,
        "warm-up": storm.warm_up,
        "seconds": storm.measured,
    }
    words = (word for name, value in given.items() for word in (f"--{name}", str(value)))
    return (sys.executable, "-m", "bench.storms.crowd", *words)


def _figures(talk: Talk) -> dict[str, Any]:
    return {**summarise(talk.latencies_ns), "missing": talk.missing}
