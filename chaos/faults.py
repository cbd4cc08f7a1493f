"""The faults: what each does to the system for a few seconds. Whoever runs them lets people talk meanwhile."""

import random
import signal
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

import trio

from chaos.balancer import PATIENCE, POLL
from chaos.proxy import Conditions, Link
from chaos.system import ChaosSystem, send_signal

Apply: TypeAlias = Callable[[ChaosSystem, random.Random, float], Awaitable[None]]
"""Do it, for so many seconds, and undo it."""
Pick: TypeAlias = Callable[[ChaosSystem, random.Random], Iterable[str]]
"""Which programs it happens to, by name."""
Links: TypeAlias = Callable[[ChaosSystem], Iterable[Link]]
"""Which links it happens to."""


class Fault(NamedTuple):
    """One fault. `quick`: it is part of the short run. `cuts`: people may lose their connections."""

    apply: Apply
    quick: bool = False
    cuts: bool = True


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


# The network.


async def _partition_node(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
    (name,) = _some_node(chaos, dice)
    machine = chaos.machines[name]
    if not machine.namespace:
        await _stall(lambda _: (chaos.inside[name], chaos.database[name], chaos.bus[name]))(chaos, dice, seconds)
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
            await link.half_close()
        await trio.sleep(seconds)  # for both sides to notice

    return apply


def _clients(chaos: ChaosSystem) -> Iterable[Link]:
    return (chaos.clients,)


def _requests(chaos: ChaosSystem) -> Iterable[Link]:
    return (chaos.requests,)


def _inside(chaos: ChaosSystem) -> Iterable[Link]:
    return chaos.inside.values()


def _database(chaos: ChaosSystem) -> Iterable[Link]:
    return chaos.database.values()


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
}
