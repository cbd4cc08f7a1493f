"""A whole system of real processes for a run: Postgres, the API and relay nodes, each as it runs in production.

Nothing of a server is imported.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from loadtest.stack.certificate import Certificate, make_certificate
from loadtest.stack.layout import DRAIN_DEADLINE, Layout
from loadtest.stack.process import end_leftovers, processes_in, reserve_port
from loadtest.stack.program import Child, StackError, address_in
from loadtest.stack.watchman import Watchman, open_watchman

COMMAND_DEADLINE: Final = 120.0
"""Seconds for a command that ends by itself."""


class Stack:
    """A system that runs. Processes may be killed and come back while it does, so ask anew for `pids`."""

    def __init__(self, layout: Layout, postgres: Child, api: Child | None, nodes: tuple[Child, ...]) -> None:
        self._layout = layout
        self._postgres = postgres
        self._api = api
        self._nodes = nodes
        self._next = 0
        self.relay_url = layout.relay_url
        self.database_url = layout.database_url
        self.keys: Path = layout.folder / "keys"
        self.outbox: Path = layout.folder / "outbox"
        """Where mail in development goes: one `.eml` for each one-time code."""
        self.authority: Path | None = None if layout.certificate is None else layout.certificate.certificate
        """PEM; whom a client of `wss` has to trust."""
        self.metrics_urls = {
            node.program.name: f"http://127.0.0.1:{port}/metrics"
            for node, port in zip(nodes, layout.metrics_ports, strict=True)
        }
        self.api_url = ""
        """Empty where there is no API."""

    @property
    def pids(self) -> dict[str, int]:
        """The processes by name: `postgres` (the postmaster), `api`, `relay-1` and so on."""
        return {child.program.name: child.pid for child in self._children}

    def dead(self) -> list[str]:
        """Return the names of programs that have ended without being asked to."""
        return [child.program.name for child in self._children if child.died]

    def kill_node(self) -> str:
        """Kill a node with SIGKILL, start it again, and return its name when it is ready: each call takes the next one.

        Raises StackError when it does not come back.
        """
        node = self._nodes[self._next % len(self._nodes)]
        self._next += 1
        node.kill()
        node.start()
        node.wait_ready()
        return node.program.name

    def drain_nodes(self) -> list[str]:
        """Drain one node after the other (SIGTERM), start each again when it has ended, and return their names.

        Raises StackError when one does not come back.
        """
        for node in self._nodes:
            node.stop_nowait()
            node.wait_ended(DRAIN_DEADLINE)
            node.start()
            node.wait_ready()
        return [node.program.name for node in self._nodes]

    def start(self) -> None:
        """Start API and nodes, and wait until all are ready. Raises StackError."""
        for child in self._servers:
            child.start()
        for child in self._servers:
            said = child.wait_ready()
            if child is self._api:
                self.api_url = address_in(said)

    def stop(self) -> None:
        """End API and nodes, all at once."""
        for child in self._servers:
            child.stop_nowait()
        for child in self._servers:
            child.wait_ended()

    @property
    def _servers(self) -> tuple[Child, ...]:
        return self._nodes if self._api is None else (self._api, *self._nodes)

    @property
    def _children(self) -> tuple[Child, ...]:
        return (self._postgres, *self._servers)


@contextmanager
def open_stack(folder: Path, *, nodes: int = 1, tls: bool = False, api: bool = True) -> Iterator[Stack]:
    """Run a system in `folder`, ready when the block begins and gone when it ends. It may be opened there again.

    The folder must be one that another user may pass through, as Postgres refuses to run as root. Raises StackError.
    """
    folder = folder.resolve()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    certificate = make_certificate(folder / "tls") if tls else None
    with ExitStack() as stack:
        layout = _reserve(stack, folder, nodes, certificate)
        watchman = stack.enter_context(open_watchman(layout.log("watchman")))
        postgres = stack.enter_context(_open_postgres(layout, watchman))
        layout = replace(layout, database_url=_run_command(layout, "url", "--data", str(layout.postgres_folder)))
        postgres.wait_ready()
        _run_command(layout, "migrate")
        opened = _describe(layout, postgres, watchman, api=api)
        stack.callback(opened.stop)
        opened.start()
        yield opened


def _reserve(stack: ExitStack, folder: Path, nodes: int, certificate: Certificate | None) -> Layout:
    """Hold ports for as long as the stack lasts, so that a node which was killed comes back where it was."""
    shared = stack.enter_context(reserve_port(socket.SO_REUSEADDR, socket.SO_REUSEPORT))
    metrics = [stack.enter_context(reserve_port(socket.SO_REUSEADDR)) for _ in range(nodes)]
    return Layout(folder, shared.getsockname()[1], tuple(held.getsockname()[1] for held in metrics), certificate)


def _describe(layout: Layout, postgres: Child, watchman: Watchman, *, api: bool) -> Stack:
    front = Child(layout.api(), layout.log("api"), watchman) if api else None
    programs = map(layout.node, range(len(layout.metrics_ports)))
    return Stack(layout, postgres, front, tuple(Child(each, layout.log(each.name), watchman) for each in programs))


@contextmanager
def _open_postgres(layout: Layout, watchman: Watchman) -> Iterator[Child]:
    child = Child(layout.postgres(), layout.log("postgres"), watchman)
    try:
        child.start()
        yield child
    finally:
        child.wait_ended()
        # Of a postmaster that was killed, the others end when they notice: each leads a session of its own.
        end_leftovers(processes_in(layout.cluster))


def _run_command(layout: Layout, *arguments: str) -> str:
    """Run a command of the storage to its end, and return what it printed. Raises StackError."""
    command = (sys.executable, "-m", "storage", *arguments)
    environ = layout.environ if layout.database_url else layout.postgres().environ
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command,
            env=dict(environ),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise StackError(f"storage {arguments[0]} was not done after {COMMAND_DEADLINE:g} s") from None
    if done.returncode:
        raise StackError(f"storage {arguments[0]} failed:\n{done.stderr.strip()}")
    return done.stdout.strip()
