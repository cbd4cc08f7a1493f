"""PostgreSQL servers of a cluster change places or die under people who talk: what was acked is there, and once.

The cases share one cluster and one system, and run in this order. Each signs people up, so the API has found the
primary that the case before left behind.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import trio

import varde
from chaos.account import Account, Said
from chaos.patroni import PatroniCluster, open_patroni_cluster, wait
from storage.embedded.cluster import program
from tests.end_to_end.stack import ROOT, Stack, connected, open_dm, people, running_stack
from tests.system import SCRATCH, require
from varde.events import Message
from varde_contract.transparency.entry import split_entries

pytestmark = [pytest.mark.xdist_group("failover"), pytest.mark.timeout(180)]
FAILOVER = ROOT / "docs/operations/failover.md"
PAUSE = 0.02
"""Seconds between two messages."""
AFTERWARDS = 20
"""So many messages must be acked when all is over."""


class System(NamedTuple):
    """The servers, over the database."""

    cluster: PatroniCluster
    stack: Stack
    worker: "subprocess.Popen[bytes]"


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Everything a production system has, with one relay node."""
    require("etcd", "etcd-server")
    with (
        tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH, ignore_cleanup_errors=True) as name,
        open_patroni_cluster(Path(name)) as cluster,
    ):
        environ = os.environ | {"VARDE_DATABASE_URL": cluster.url, "VARDE_WORKER_LEASE_SECONDS": "3"}
        subprocess.run((sys.executable, "-m", "storage", "migrate"), env=environ, check=True, stdout=subprocess.DEVNULL)
        data = Path(name) / "servers"
        data.mkdir()
        with running_stack(data, cluster.url) as stack, (data / "worker.log").open("wb") as log:
            environ |= {"VARDE_DATA": str(data)}
            worker = subprocess.Popen((sys.executable, "-m", "worker"), env=environ, cwd=ROOT, stdout=log, stderr=log)
            try:
                yield System(cluster, stack, worker)
            finally:
                # In good order they would wait for a database of which nothing is asked here any more.
                worker.kill()
                worker.wait()
                stack.relay.kill()
                stack.api.kill()


class Talk(NamedTuple):
    """One who writes all the time, one who reads, and the books. A message's number is its place among those sent."""

    account: Account
    numbers: dict[Said, int]
    """What each acked message is in the log of the conversation."""
    conversation: varde.Conversation

    @property
    def acked(self) -> int:
        """How many the writer was told to be stored."""
        return len(self.account.acked)

    async def wait_acked(self, more: int) -> None:
        """Return when so many more are."""
        wanted = self.acked + more
        while self.acked < wanted:  # noqa: ASYNC110 - the servers are other processes
            await trio.sleep(PAUSE)


async def _write(talk: Talk) -> None:
    for number in count(1):
        said = Said("failover", "alice", number)
        key = (talk.conversation.id, said)
        talk.account.sent[key] = trio.current_time()
        sent = await talk.conversation.send(said.text)  # without a deadline: the client waits through every fault
        talk.account.acked[key] = talk.numbers[said] = sent.seq
        await trio.sleep(PAUSE)  # people pause between two messages


async def _read(client: varde.Client, account: Account) -> None:
    async for event in client.events():
        if isinstance(event, Message) and not event.mine:
            row = (trio.current_time(), event.conversation, event.profile, Said.parse(event.text))
            account.shown["bob"].append(row)


@asynccontextmanager
async def _talk(system: System, folder: Path) -> AsyncIterator[Talk]:
    """Two people talk during the block; then the books must be right, and the log must hold what was acked."""
    persons = await people(system.stack, folder, "alice", "bob")
    async with connected(*((person, "laptop") for person in persons), seconds=120) as (alice, bob):
        account = Account(members={}, names={alice.identity.profiles[0].id: "alice"})
        conversation = await open_dm(alice, bob)
        account.members[conversation.id] = frozenset({"alice", "bob"})
        talk = Talk(account, {}, conversation)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, bob, account)
            async with trio.open_nursery() as writer:
                writer.start_soon(_write, talk)
                await talk.wait_acked(AFTERWARDS)
                yield talk
                await talk.wait_acked(AFTERWARDS)
                writer.cancel_scope.cancel()
            while account.missing("failover"):  # noqa: ASYNC110
                await trio.sleep(PAUSE)
            nursery.cancel_scope.cancel()
    result = account.close("failover", (began, trio.current_time()), 0)
    sys.stdout.write(f"{folder.name}: {result}\n")  # pytest -rP shows the measured outage
    assert result.clean, result
    assert len(set(talk.numbers.values())) == talk.acked
    asked = f"SELECT seq FROM message WHERE conversation_id = '{conversation.id}'"  # noqa: S608 - an id of ours
    assert set(talk.numbers.values()) <= {int(line) for line in system.cluster.ask(asked)}
    assert system.worker.poll() is None


async def _off(call: Callable[[], object]) -> None:
    await trio.to_thread.run_sync(call)


async def test_a_planned_switchover(system: System, tmp_path: Path) -> None:
    """The primary hands over, by the commands of the page for operators: a pause, and no more."""
    await _off(system.cluster.wait_healthy)
    (block,) = re.findall(r"^```sh tested\n(.*?)^```$", FAILOVER.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    async with _talk(system, tmp_path):
        old = system.cluster.primary
        new = system.cluster.other(old)
        names = {"db1": old.name, "db2": new.name, "/etc/patroni/config.yml": str(old.config)}
        script = re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], block)
        environ = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "VARDE_DATABASE_URL": system.cluster.url,
            "VARDE_DATA": str(tmp_path / "data"),
        }
        said = await trio.run_process(
            ("bash", "-euc", f'varde() {{ {sys.executable} -m varde_cli "$@"; }}\n{script}'),
            env=environ,
            check=False,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
        assert b"Successfully switched over" in said.stdout, said.stdout.decode()
        assert system.cluster.primary is new


async def test_the_log_is_read_at_a_standby(system: System, tmp_path: Path) -> None:
    """What is read there is what the checkpoint says. The API keeps its replica for the cases that follow."""
    primary = await trio.to_thread.run_sync(system.cluster.wait_healthy)
    api = system.stack.api
    await _off(api.stop)
    api.change(VARDE_REPLICA_URL=system.cluster.replica_url)
    await _off(api.start)
    await people(system.stack, tmp_path, "carol")
    async with httpx.AsyncClient(base_url=api.address) as client:
        with trio.fail_after(30):
            while (await client.get("/v1/log/tile/0/000.p/1")).status_code != 200:  # noqa: ASYNC110 - other processes
                await trio.sleep(PAUSE)  # until a worker has signed
        tile, bundle = [(await client.get(f"/v1/log/tile/{kind}/000.p/1")).content for kind in ("0", "entries")]
    (entry,) = split_entries(bundle)
    assert tile == entry.leaf()
    standby = f"host=127.0.0.1 port={system.cluster.other(primary).port} user=varde dbname=varde"
    asked = "SELECT query FROM pg_stat_activity WHERE application_name = 'varde' AND pid <> pg_backend_pid()"
    done = await trio.run_process((program("psql"), "-X", "-At", "-c", asked, standby), capture_stdout=True)
    assert b"log_tile" in done.stdout or b"log_entry" in done.stdout


async def test_nobody_listens_at_a_standby(system: System) -> None:
    """The bus need not ask where it is: it hears only at a primary."""
    primary = await trio.to_thread.run_sync(system.cluster.wait_healthy)
    standby = f"host=127.0.0.1 port={system.cluster.other(primary).port} user=varde dbname=varde"
    done = await trio.run_process(
        (program("psql"), "-X", "-c", "LISTEN varde", standby), check=False, capture_stdout=True, capture_stderr=True
    )
    assert b"cannot execute LISTEN during recovery" in done.stderr


async def test_postgres_is_killed(system: System, tmp_path: Path) -> None:
    """Its Patroni lives, and gives the lease away."""
    await _off(system.cluster.wait_healthy)
    async with _talk(system, tmp_path):
        old = system.cluster.primary
        old.kill_postgres()
        await _off(lambda: wait(lambda: system.cluster.other(old).state.get("role") == "primary"))


async def test_etcd_is_killed(system: System, tmp_path: Path) -> None:
    """The primary asks the other server instead, and goes on: nobody's place changes, and no message waits for it."""
    primary = await trio.to_thread.run_sync(system.cluster.wait_healthy)
    async with _talk(system, tmp_path) as talk:
        system.cluster.etcd.kill()
        await _off(lambda: wait(lambda: bool(primary.state.get("failsafe_mode_is_active"))))
        await talk.wait_acked(AFTERWARDS)
        await _off(system.cluster.etcd.start)
        await _off(lambda: wait(lambda: not primary.state.get("failsafe_mode_is_active")))
        assert system.cluster.primary is primary


async def test_a_whole_server_is_killed(system: System, tmp_path: Path) -> None:
    """Nobody gives its lease away: the other one waits for the end of it, and then takes over."""
    old = await trio.to_thread.run_sync(system.cluster.wait_healthy)
    async with _talk(system, tmp_path):
        old.kill()
        await _off(lambda: wait(lambda: system.cluster.other(old).state.get("role") == "primary"))
