"""Every server there is to measure, how one runs as a child process on its own core, and what the kernel says of it.

A process and everything it started count together, CPU time and memory.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
from msgspec import Struct

from loadtest.client.websocket import ServerFault
from loadtest.stack.process import ROOT, open_program, tail_of

_NODE_FOLDER: Final = ROOT / "bench/servers/node"
_INSTALL_SECONDS: Final = 120

VARDE: Final = "varde"
NODE: Final = "node-ws"


class Missing(Exception):
    """A server cannot be run here; the text says what to install."""


class Entry(Struct, frozen=True):
    """A server. `encrypted`: whether it has crypto, and may be asked for TLS as well."""

    name: str
    title: str
    encrypted: bool = True


CATALOGUE: Final = {
    entry.name: entry
    for entry in (
        Entry(VARDE, "Varde"),
        Entry("picows", "picows on uvloop"),
        Entry("websockets", "websockets on asyncio + uvloop"),
        Entry("starlette", "Starlette on uvicorn"),
        Entry("websockets-trio", "websockets' Trio server"),
        Entry("trio-websocket", "trio-websocket"),
        Entry(NODE, "Node, ws"),
        Entry("epoll-floor", "epoll floor (no crypto)", encrypted=False),
    )
}
DURABLE_PEERS: Final = ("mosquitto", "mosquitto_each_second")
"""Servers that are measured only in the durable dimension. Twice, by how often Mosquitto writes its store."""


def title_of(name: str) -> str:
    """Return the name of a server as a reader knows it."""
    return CATALOGUE[name].title if name in CATALOGUE else name.replace("_", ", ")


def command_of(entry: Entry, folder: Path) -> list[str]:
    """Return how to start a server. `folder` is where `install` put what it needs."""
    if entry.name == NODE:
        return ["node", str(folder / "node/server.mjs")]
    if entry.name == VARDE:
        return [sys.executable, "-m", "loadtest.stack.node"]
    return [sys.executable, "-m", "bench.servers.peers", entry.name]


def install(entry: Entry, folder: Path) -> None:
    """Have all there that a server needs. Raises Missing.

    The libraries of Python come with the locked requirements. Those of Node are installed into `folder` the first time.
    """
    if entry.name != NODE:
        return
    if not shutil.which("node") or not shutil.which("npm"):
        raise Missing("there is no `node` or no `npm`: install Node.js 18 (on Debian: apt-get install nodejs npm)")
    folder /= "node"
    shutil.copytree(_NODE_FOLDER, folder, dirs_exist_ok=True)
    lock, installed = (_NODE_FOLDER / "package-lock.json").read_bytes(), folder / "installed-lock.json"
    if installed.exists() and installed.read_bytes() == lock:
        return
    command = ("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True)  # noqa: S603 - constant
    except (OSError, subprocess.TimeoutExpired):
        raise Missing("`npm ci` did not end: is a package registry within reach?") from None
    except subprocess.CalledProcessError as failure:
        raise Missing(f"`npm ci` failed: {failure.stderr.strip()[-200:] or 'it did not say why'}") from None
    installed.write_bytes(lock)


START_DEADLINE: Final = 30.0
_STOP_DEADLINE: Final = 1.0


def choose_cores() -> tuple[int | None, int | None]:
    """Return a core for the server and one for the load: the last two, as the first ones serve most interrupts.

    With a single core both are None, and share it.
    """
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[-1], allowed[-2]) if len(allowed) > 1 else (None, None)


def tree_of(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; nothing when it is gone."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process and its descendants have used so far, user and system together."""
    total = 0.0
    for process in tree_of(pid):
        # psutil counts in ticks of 10 ms, a twentieth of what a lightly loaded server uses in a window. The scheduler
        # counts in nanoseconds, but only for threads that still run: no server here ends one while it is measured.
        with suppress(OSError, psutil.Error):
            tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
            total += sum(int(task.read_text().split()[0]) for task in tasks) * 1e-9 or sum(process.cpu_times()[:2])
    return total


def rss_kib(pid: int) -> int:
    """Return the KiB of memory that a process and its descendants hold; what they share is counted for each."""
    total = 0
    for process in tree_of(pid):
        with suppress(psutil.Error):
            # `memory_info` reads counters that lag behind by some pages for each thread; the maps are exact.
            total += sum(each.rss for each in process.memory_maps(grouped=True))
    return total // 1024


class Server(Struct, frozen=True):
    """One that listens on 127.0.0.1."""

    pid: int
    port: int


@contextmanager
def open_server(command: Sequence[str], *, core: int | None, log: Path) -> Iterator[Server]:
    """Run a server while the block lasts: it says its port in one line of JSON. Its stderr goes to `log`.

    Raises ServerFault, with the last that it wrote to stderr.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # A child inherits where its parent's thread may run: no moment on another core, and none of its threads escapes.
    own = os.sched_getaffinity(0)
    with ExitStack() as opened:
        try:
            if core is not None:
                os.sched_setaffinity(0, {core})
            program = open_program(command, _STOP_DEADLINE, log=log, stdout=subprocess.PIPE)
            process = opened.enter_context(program)
        finally:
            os.sched_setaffinity(0, own)
        yield Server(process.pid, _read_port(process, log))


def _read_port(process: subprocess.Popen[bytes], log: Path) -> int:
    assert process.stdout is not None
    # A server that neither speaks nor ends is killed, which ends its line.
    watchdog = threading.Timer(START_DEADLINE, process.kill)
    watchdog.start()
    try:
        return int(json.loads(process.stdout.readline())["port"])
    except (ValueError, KeyError, TypeError):
        said = tail_of(log).splitlines()
        raise ServerFault(said[-1] if said else "it ended or was silent instead of listening") from None
    finally:
        watchdog.cancel()
