"""The faults: what each does to the system for a few seconds. Whoever runs them lets people talk meanwhile."""

import os
import random
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import trio

from chaos.balancer import PATIENCE, POLL
from chaos.clock import HOUR
from chaos.machines import Machines
from chaos.patroni import Member, PatroniCluster, wait
from chaos.proxy import Conditions, Link
from chaos.system import ChaosSystem, send_signal
from operations.backup import back_up, restore
from settings.storage import DatabaseUrl, StorageSettings
from storage.embedded.cluster import NAME, program

Apply: TypeAlias = Callable[[ChaosSystem, random.Random, float], Awaitable[None]]
"""Do it, for so many seconds, and undo it."""
Pick: TypeAlias = Callable[[ChaosSystem, random.Random], Iterable[str]]
"""Which programs it happens to, by name."""
Links: TypeAlias = Callable[[ChaosSystem], Iterable[Link]]
"""Which links it happens to."""


class Fault(NamedTuple):
    """One fault."""

    apply: Apply
    quick: bool = False
    """It is part of the short run."""
    cuts: bool = True
    """People may lose their connections."""
    refuse: Callable[[Machines], str] = lambda _: ""
    """Why it cannot be had here."""
    may_disorder: bool = False
    """The server loses messages that it had acked: what is sent again may come behind what was written later."""
    cluster: bool = False
    """It is one of a cluster of Postgres, after which the log of the new primary is looked at."""


async def _calm(_: ChaosSystem, __: random.Random, seconds: float) -> None:
    await trio.sleep(seconds)  # nothing happens: what everything else is compared with


# Programs.


def _only(*names: str) -> Pick:
    return lambda _chaos, _dice: names


def _some_node(chaos: ChaosSystem, dice: random.Random) -> list[str]:
    # Of those that have clients: of another one's death nobody would notice.
    return [dice.choice([name for name, count in chaos.control.sessions().items() if count] or chaos.nodes)]


def _all_nodes(chaos: ChaosSystem, _: random.Random) -> list[str]:
    return chaos.nodes


def _all_servers(chaos: ChaosSystem, _: random.Random) -> list[str]:
    return [*chaos.nodes, "api", "worker"]


def _kill(pick: Pick) -> Apply:
    async def apply(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
        chaos.kill(*pick(chaos, dice))
        await trio.sleep(seconds)  # for them to come back, and for clients to find others

    return apply


def _stop(pick: Pick) -> Apply:
    async def apply(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
        pids = [pid for name in pick(chaos, dice) for pid in chaos.pids(name)]
        send_signal(pids, signal.SIGSTOP)
        try:
            await trio.sleep(seconds)  # the fault itself
        finally:
            send_signal(pids, signal.SIGCONT)

    return apply


async def _drain_node(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
    for name in _some_node(chaos, dice):
        chaos.programs[name].send_signal(signal.SIGTERM)
    await trio.sleep(seconds)  # for its clients to leave


async def _reload_balancer(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    await chaos.control.reload(lambda: chaos.programs["balancer"].send_signal(signal.SIGUSR2))
    await trio.sleep(seconds)  # with the old worker and the new one


async def _renew_certificate(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
    chaos.certificate.renew()
    await _reload_balancer(chaos, dice, seconds)
    with trio.fail_after(PATIENCE):
        while not await trio.to_thread.run_sync(chaos.certificate.is_shown, chaos.requests.port):  # noqa: ASYNC110
            await trio.sleep(POLL)


# Disk, clocks and backups.


async def _fill_disk(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    ballast = chaos.disk / "ballast"
    with ballast.open("wb") as file, trio.move_on_after(seconds):
        while True:
            # Again and again: Postgres gives back what it no longer needs, and must not have it again.
            with suppress(OSError):  # nothing is free, or not any more
                os.posix_fallocate(file.fileno(), ballast.stat().st_size, shutil.disk_usage(chaos.disk).free)
            await trio.sleep(POLL)
    ballast.unlink()


def _step_clocks(pick: Pick, step: int) -> Apply:
    async def apply(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
        names = list(pick(chaos, dice))
        for name in names:
            chaos.clocks[name].step(step)
        chaos.clients.reset()  # people come back by tickets, made by one clock and judged by another
        await trio.sleep(seconds)  # the fault itself
        for name in names:
            chaos.clocks[name].step(0)
        await trio.sleep(seconds)  # for what was made at the wrong time to be replaced

    return apply


def _silently(_: str) -> None:
    """What is going on is nobody's business here."""


async def _restore_backup(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
    file = chaos.data.with_name("backup.tar")
    settings = StorageSettings(database=DatabaseUrl(chaos.database_url), data=chaos.data)
    await back_up(settings, file, _silently)
    await trio.sleep(seconds)  # all that is said now will be lost on the server
    for link in _database(chaos):
        link.refuses = True
        link.reset()
    server = urlsplit(chaos.database_url)._replace(path="/postgres").geturl()
    for statement in (f"DROP DATABASE {NAME} WITH (FORCE)", f"CREATE DATABASE {NAME}"):
        await trio.run_process((program("psql"), "-X", "-q", "-c", statement, server))
    await restore(settings, file, _silently)
    file.unlink()
    for link in _database(chaos):
        link.refuses = False
    await _kill(_all_servers)(chaos, dice, seconds)


# The cluster of Postgres.


def _change_primary(lose: Callable[[PatroniCluster, Member], None], mend: Callable[[Member], None] | None) -> Apply:
    """Have the primary lose its place by `lose`, and let it come back by `mend`, at least as standby."""

    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        cluster = chaos.cluster
        assert cluster is not None
        old = await trio.to_thread.run_sync(cluster.wait_healthy)
        await trio.to_thread.run_sync(lose, cluster, old)
        other = cluster.other(old)
        await trio.to_thread.run_sync(wait, lambda: other.state.get("role") == "primary")
        await trio.sleep(seconds)  # with one server
        if mend is not None:
            await trio.to_thread.run_sync(mend, old)
        await trio.to_thread.run_sync(cluster.wait_healthy)

    return apply


def _cut_off_primary(_: PatroniCluster, primary: Member) -> None:
    primary.machine.unplug()


async def _kill_etcd(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    cluster = chaos.cluster
    assert cluster is not None
    primary = await trio.to_thread.run_sync(cluster.wait_healthy)
    cluster.etcd.kill()
    await trio.to_thread.run_sync(wait, lambda: bool(primary.state.get("failsafe_mode_is_active")))
    await trio.sleep(seconds)  # without anybody who knows who leads
    await trio.to_thread.run_sync(cluster.etcd.start)
    await trio.to_thread.run_sync(wait, lambda: not primary.state.get("failsafe_mode_is_active"))


# The network.


async def _partition_node(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
    (name,) = _some_node(chaos, dice)
    machine = chaos.machines[name]
    if not machine.namespace:
        await _stall(lambda _: (chaos.inside[name], *chaos.database[name], chaos.bus[name]))(chaos, dice, seconds)
        return
    machine.unplug()
    await trio.sleep(seconds)  # the fault itself
    machine.plug()


def _conditions(links: Links, conditions: Conditions) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        for link in links(chaos):
            link.conditions = conditions
        await trio.sleep(seconds)  # the fault itself
        for link in links(chaos):
            link.conditions = Conditions()

    return apply


def _stall(links: Links) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        for link in links(chaos):
            link.stall()
        await trio.sleep(seconds)  # the fault itself
        for link in links(chaos):
            link.flow()

    return apply


def _reset(links: Links, times: int = 3) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        for _turn in range(times):
            for link in links(chaos):
                link.reset()
            await trio.sleep(seconds / times)  # between two resets

    return apply


def _refuse(links: Links) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        for link in links(chaos):
            link.refuses = True
            link.reset()
        await trio.sleep(seconds)  # the fault itself
        for link in links(chaos):
            link.refuses = False

    return apply


def _half_close(links: Links) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        for link in links(chaos):
            link.half_close()
        await trio.sleep(seconds)  # for both sides to notice

    return apply


def _clients(chaos: ChaosSystem) -> Iterable[Link]:
    return (chaos.clients,)


def _requests(chaos: ChaosSystem) -> Iterable[Link]:
    return (chaos.requests,)


def _inside(chaos: ChaosSystem) -> Iterable[Link]:
    return chaos.inside.values()


def _database(chaos: ChaosSystem) -> Iterable[Link]:
    return chain(*chaos.database.values())


def _bus(chaos: ChaosSystem) -> Iterable[Link]:
    return chaos.bus.values()


_SLOW: Final = Conditions(latency=0.06, jitter=0.04)
_SLICED: Final = Conditions(slice_bytes=7)
_NARROW: Final = Conditions(bytes_per_second=20_000)

FAULTS: Final[dict[str, Fault]] = {
    "calm": Fault(_calm, quick=True),
    # The two that may cut nobody come first: after a drain, clients leave one by one for some time.
    "balancer-reloaded": Fault(_reload_balancer, quick=True, cuts=False),
    "certificate-renewed": Fault(_renew_certificate, quick=True, cuts=False),
    "balancer-killed": Fault(_kill(_only("balancer")), quick=True),
    "balancer-stopped": Fault(_stop(_only("balancer"))),
    "node-killed": Fault(_kill(_some_node), quick=True),
    "node-stopped": Fault(_stop(_some_node), quick=True),
    "node-drained": Fault(_drain_node, quick=True),
    "node-partitioned": Fault(_partition_node, quick=True),
    "nodes-slow": Fault(_conditions(_inside, _SLOW)),
    "nodes-reset": Fault(_reset(_inside)),
    "all-nodes-killed": Fault(_kill(_all_nodes)),
    "database-killed": Fault(_kill(_only("postgres")), quick=True),
    "database-stopped": Fault(_stop(_only("postgres"))),
    "bus-killed": Fault(_kill(_only("valkey")), quick=True),
    "bus-stopped": Fault(_stop(_only("valkey"))),
    "bus-slow": Fault(_conditions(_bus, _SLOW)),
    "bus-silent": Fault(_stall(_bus)),
    "bus-reset": Fault(_reset(_bus)),
    "bus-refused": Fault(_refuse(_bus)),
    "api-killed": Fault(_kill(_only("api")), quick=True),
    "api-stopped": Fault(_stop(_only("api"))),
    "worker-killed": Fault(_kill(_only("worker"))),
    "worker-stopped": Fault(_stop(_only("worker"))),
    "clients-slow": Fault(_conditions(_clients, _SLOW)),
    "clients-sliced": Fault(_conditions(_clients, _SLICED)),
    "clients-narrow": Fault(_conditions(_clients, _NARROW)),
    "clients-silent": Fault(_stall(_clients)),
    "clients-reset": Fault(_reset(_clients), quick=True),
    "clients-half-closed": Fault(_half_close(_clients)),
    "clients-refused": Fault(_refuse(_clients)),
    "requests-reset": Fault(_reset(_requests)),
    "database-slow": Fault(_conditions(_database, _SLOW)),
    "database-sliced": Fault(_conditions(_database, _SLICED)),
    "database-silent": Fault(_stall(_database)),
    "database-reset": Fault(_reset(_database), quick=True),
    "database-refused": Fault(_refuse(_database)),
    # Not in the short run: for a second or two Postgres has room in the pages that it has.
    "disk-full": Fault(_fill_disk, refuse=attrgetter("refusal")),
    "node-clock-forward": Fault(_step_clocks(_some_node, HOUR)),
    "node-clock-back": Fault(_step_clocks(_some_node, -HOUR)),
    "api-clock-forward": Fault(_step_clocks(_only("api"), HOUR)),
    "api-clock-back": Fault(_step_clocks(_only("api"), -HOUR)),
    "all-clocks-forward": Fault(_step_clocks(_all_servers, HOUR)),
    "backup-restored": Fault(_restore_backup, may_disorder=True),
    # In a cluster. The last two wait for the lease of the primary to end, after 20 s.
    "primary-switched-over": Fault(
        _change_primary(lambda cluster, old: old.switch_over(cluster.other(old).name), None), cluster=True
    ),
    "primary-killed": Fault(_change_primary(lambda _, old: old.kill_postgres(), None), cluster=True),
    "etcd-killed": Fault(_kill_etcd, cluster=True),
    "primary-server-killed": Fault(_change_primary(lambda _, old: old.kill(), Member.start), cluster=True),
    "primary-partitioned": Fault(
        _change_primary(_cut_off_primary, lambda old: old.machine.plug()), cluster=True, refuse=attrgetter("refusal")
    ),
}
