"""Several real relays on one address: people on different ones, kill -9 of one, and the Postgres that they share."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
import pytest
import trio

import varde
from tests.supervisor.real_system import ANY_PORTS, TIMEOUT, environ, open_real_system

ESTABLISHED: Final = "01"


def connections_of(pid: int, port: int) -> int:
    """How many established connections to this local port the process holds; none when it has gone."""
    try:
        rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        held = {_held(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    except (FileNotFoundError, ProcessLookupError):
        return 0
    here = {row[9] for row in rows if row[3] == ESTABLISHED and int(row[1].rpartition(":")[2], 16) == port}
    return len({f"socket:[{inode}]" for inode in here} & held)


def _held(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:  # closed meanwhile
        return ""


pytestmark = pytest.mark.xdist_group("real-system")

ATTEMPTS: Final = 64
"""Connections until one meets another of two workers: the kernel chooses by the client's port."""


class Workers:
    """The workers of one fleet, as the lines of its parent tell of them."""

    def __init__(self, read: Callable[[], list[str]], address: str) -> None:
        self._read = read
        self.port = urlsplit(address).port or 0

    @property
    def pids(self) -> dict[str, int]:
        """The process numbers by name, of those that were ready last."""
        told = (re.search(r"(relay-\d+) is (?:ready|back) at .*\(process (\d+)\)", line) for line in self._read())
        return {found[1]: int(found[2]) for found in told if found}

    @property
    def held(self) -> dict[str, int]:
        """How many clients each has."""
        return {name: connections_of(pid, self.port) for name, pid in self.pids.items()}

    async def wait_clients(self, count: int) -> dict[str, int]:
        """Wait until all together have so many."""
        while sum((held := self.held).values()) != count:  # noqa: ASYNC110 - the kernel's tables: no event
            await trio.sleep(0.01)
        return held


@asynccontextmanager
async def open_apart(workers: Workers, home: Path, other: str) -> AsyncIterator[varde.Client]:
    """Connect again and again, until it is not to the `other` worker, who has one client already."""
    for _ in range(ATTEMPTS):
        async with varde.connect(home, varde.KeyFile(home / "key")) as client:
            if (await workers.wait_clients(2))[other] == 1:
                yield client
                return
        await workers.wait_clients(1)
    raise AssertionError("all connections went to one worker")


async def hear(client: varde.Client, text: str) -> None:
    """Wait for a message."""
    async for event in client.events():
        if isinstance(event, varde.Message) and event.text == text:
            return


async def talk_across(workers: Workers, alice: Path, bob: Path, address: varde.ProfileId) -> str:
    """Alice and Bob are with different workers; Bob's is killed while they talk. Returns its name."""
    with trio.fail_after(TIMEOUT):
        async with varde.connect(alice, varde.KeyFile(alice / "key")) as alices:
            held = await workers.wait_clients(1)
            (hers,) = (name for name, count in held.items() if count)
            async with open_apart(workers, bob, hers) as bobs:
                (his,) = workers.pids.keys() - {hers}
                conversation = await alices.open_dm(address)
                await conversation.send("from one worker to the other")
                await hear(bobs, "from one worker to the other")
                os.kill(workers.pids[his], signal.SIGKILL)
                await conversation.send("while yours was dead")
                await hear(bobs, "while yours was dead")
    return his


def test_people_talk_across_workers_and_one_may_die(tmp_path: Path) -> None:
    """Messages reach a person who is with another worker, and none is lost when that worker is killed."""
    alice, bob = tmp_path / "alice", tmp_path / "bob"
    with open_real_system(tmp_path / "data", ANY_PORTS, "--relay-workers", "2") as system:
        system.sign_up(alice, "alice@example.org")
        address = system.sign_up(bob, "bob@example.org").profiles[0].id
        system.befriend(alice, bob, address)
        workers = Workers(lambda: system.lines, system.ready["relay"])
        killed = trio.run(talk_across, workers, alice, bob, address)
        system.wait_line(f"{killed} is back")
        assert system.ready["starts"]["relay"] == 1


class RealFleet:
    """`varde relay --workers 2` as a process, on a free port and the embedded Postgres of its folder."""

    def __init__(self, data: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                (sys.executable, "-m", "varde_cli", "relay", "--workers", "2"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=environ(VARDE_DATA=str(data), VARDE_RELAY_BIND="127.0.0.1:0"),
            )

    def read_ready(self) -> Workers:
        """Wait for the one line on its standard output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.lines
        ready = json.loads(line)
        assert (ready["ready"], ready["workers"]) == ("relay", 2)
        return Workers(lambda: self.lines, ready["address"])

    @property
    def lines(self) -> list[str]:
        """What it has told so far."""
        return self._log.read_text().splitlines()

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(TIMEOUT)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def open_real_fleet(data: Path, log: Path) -> Iterator[RealFleet]:
    """Start a fleet, not waiting for it; at the end of the block SIGTERM must end it cleanly."""
    fleet = RealFleet(data, log)
    try:
        yield fleet
    except BaseException as failure:
        failure.add_note("\n".join(fleet.lines))
        raise
    finally:
        code = fleet.end(signal.SIGTERM)
    assert code == 0, fleet.lines


def migrate(data: Path) -> None:
    """Make the database in a folder."""
    words = (sys.executable, "-m", "varde_cli", "migrate")
    subprocess.run(words, env=environ(VARDE_DATA=str(data)), check=True, capture_output=True, timeout=TIMEOUT)


def is_gone(pid: int) -> bool:
    """Whether the process has ended. Whoever adopted it may take a second to read its exit code."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_fleets_on_one_folder_share_its_postgres_and_leave_nothing(tmp_path: Path) -> None:
    """The one that is killed takes its workers and Postgres along; of two at once, one runs Postgres for both."""
    data = tmp_path / "data"
    migrate(data)
    killed = RealFleet(data, tmp_path / "killed")
    pids = killed.read_ready().pids
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    with open_real_fleet(data, tmp_path / "one") as one, open_real_fleet(data, tmp_path / "two") as two:
        assert len(one.read_ready().pids) == len(two.read_ready().pids) == 2
        assert all(is_gone(pid) for pid in pids.values())
        (guest,) = (fleet for fleet in (one, two) if not any("postgres is ready" in line for line in fleet.lines))
        assert guest.end(signal.SIGTERM) == 0  # first: it may need the database until its end
    assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()


def test_what_cannot_be_followed_is_told_in_the_relays_own_words(tmp_path: Path) -> None:
    """A bad setting ends the parent with the sentence and exit code with which it ends one relay."""
    done = subprocess.run(
        (sys.executable, "-m", "varde_cli", "relay", "--workers", "2"),
        capture_output=True,
        text=True,
        env=environ(VARDE_DATA=str(tmp_path), VARDE_DATABASE_URL="postgresql://x/y", VARDE_RELAY_CONNECTIONS="few"),
        check=False,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "varde: VARDE_RELAY_CONNECTIONS must be a whole number, at least 1" in done.stderr
    assert "Traceback" not in done.stderr
