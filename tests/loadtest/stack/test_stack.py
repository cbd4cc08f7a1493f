"""The stack that runs are made against: real processes, which serve, die, come back, and are all gone in the end."""

import os
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from msgspec.structs import replace

from loadtest.crowd.crowd import run_seeding
from loadtest.exits import CouldNotRun
from loadtest.stack import stack as stack_module
from loadtest.stack.certificate import make_certificate
from loadtest.stack.process import ROOT, runs, wait_for
from loadtest.stack.stack import Stack, open_stack
from tests.loadtest.crowd.member import open_member
from tests.system import SCRATCH

PATIENCE = 60.0
"""Seconds. Only what never happens takes so long."""

CONDUCTOR = """
import gevent.monkey

gevent.monkey.patch_all()  # as Locust does

import sys, time
from pathlib import Path
from loadtest.stack.stack import open_stack

with open_stack(Path(sys.argv[1])) as stack:
    if len(sys.argv) > 2:
        stack.kill_node()
    print(*stack.pids.values(), flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres may pass through, as another user: pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as name:
        yield Path(name)


def family(roots: list[int]) -> list[int]:
    """These processes and their descendants."""
    return roots + [each.pid for pid in roots for each in psutil.Process(pid).children(recursive=True)]


def everybody(stack: Stack) -> list[int]:
    """All processes of the stack."""
    return family(list(stack.pids.values()))


def stranger(folder: Path) -> str:
    """An authority that vouches for somebody else."""
    return make_certificate(folder / "stranger").certificate.read_text()


def live_through_everything(stack: Stack, folder: Path, pids: list[int]) -> None:
    """All that can befall it; in the end two programs are dead and something breaks. `pids` gets everybody."""
    crowd = run_seeding(stack.order(2, folder / "crowd"))
    before = stack.pids
    assert [stack.kill_node().split()[0] for _ in range(2)] == ["relay-1", "relay-2"]
    after = stack.pids
    assert "relay-2 was ended and is back" in stack.drain_nodes()
    for old, new in ((before, after), (after, stack.pids)):
        assert [name for name, pid in old.items() if new[name] != pid] == ["relay-1", "relay-2"]
    assert "the others shed" in stack.rebalance()
    assert "0.5 s" in stack.lose_bus()
    assert stack.fail_over().startswith("postgres ")
    assert [name for name, pid in stack.pids.items() if pid != new[name]] == ["postgres", "relay-1"]
    assert stack.dead() == []
    assert list(stack.metrics_urls) == ["relay-1", "relay-2"]
    assert all(httpx.get(url).is_success for url in stack.metrics_urls.values())
    with open_member(crowd, 0):
        pass
    with pytest.raises(ssl.SSLCertVerificationError), open_member(replace(crowd, authority=stranger(folder)), 0):
        pass
    assert httpx.get(f"{stack.api_url}/v1/relay").json()["url"] == stack.relay_url
    pids += everybody(stack)
    for name in ("api", "postgres"):
        os.kill(stack.pids[name], signal.SIGKILL)
    assert wait_for(lambda: {"api", "postgres"} <= set(stack.dead()), PATIENCE)
    raise InterruptedError("something in the run")


def test_what_is_killed_or_drained_comes_back_and_in_the_end_nothing_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes, Valkey and the database, over TLS: there are other processes, and people connect as before.

    What dies by itself is named; when the block fails, no process is left. One stack for both, as each costs seconds.
    """
    monkeypatch.setattr(stack_module, "BUS_AWAY_SECONDS", 0.5)  # what a node makes of it, its own tests say
    pids: list[int] = []
    with pytest.raises(InterruptedError), open_stack(folder, nodes=2, tls=True, valkey=True) as stack:
        live_through_everything(stack, folder, pids)
    assert len(pids) > 6
    assert not list(filter(runs, pids))


def test_only_a_stack_with_valkey_can_lose_it(folder: Path) -> None:
    """Whoever asks for it is told in words."""
    with pytest.raises(CouldNotRun, match="has no Valkey"):
        Stack(folder, 0, 1, None, None).lose_bus()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_nothing_is_left_when_whoever_runs_it_is_stopped(folder: Path, how: signal.Signals) -> None:
    """A conductor under gevent takes its whole stack with it, also when it has no time to clean up."""
    conductor = subprocess.Popen(
        (sys.executable, "-c", CONDUCTOR, str(folder), *["kill a node"] * (how is signal.SIGKILL)),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert conductor.stdout is not None
    with conductor, conductor.stdout:
        try:
            roots = list(map(int, conductor.stdout.readline().split()))
            pids = family(roots)
            conductor.send_signal(how)
            conductor.wait(PATIENCE)
        finally:
            conductor.kill()
    assert len(roots) == 4
    # After a kill it is the runner that ends them, and it takes a moment.
    assert wait_for(lambda: not any(map(runs, pids)), PATIENCE if how is signal.SIGKILL else 0)
    if how is signal.SIGKILL:
        assert wait_for(lambda: not folder.exists(), PATIENCE), "nobody else is left to remove it"
        folder.mkdir()


def test_a_stack_that_cannot_start_says_why(folder: Path) -> None:
    """The words are those of the program that failed."""
    (folder / "postgres" / "cluster").mkdir(parents=True)
    with pytest.raises(CouldNotRun, match="is not a Postgres cluster"), open_stack(folder):
        pass


def test_who_opens_a_stack_and_orders_people_imports_no_server() -> None:
    """It may be a Locust process: nothing of a server comes with it, and neither does Trio."""
    said = "import sys, loadtest.stack.stack, loadtest.crowd.crowd; print(*sys.modules)"
    loaded = subprocess.run((sys.executable, "-c", said), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {"trio", "storage", "domain", "relay", "api", "varde"}.isdisjoint(loaded.split())
