"""The faults: what each does to the system for a few seconds. Whoever runs them lets people talk meanwhile."""

import random
import signal
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeAlias

import trio

from chaos.proxy import Link, Weather
from chaos.system import ChaosSystem, send_signal

Apply: TypeAlias = Callable[[ChaosSystem, random.Random, float], Awaitable[None]]
"""Do it, for so many seconds, and undo it."""


class Fault(NamedTuple):
    """One fault. `quick`: it is part of the short run."""

    apply: Apply
    quick: bool = True


async def _calm(_: ChaosSystem, __: random.Random, seconds: float) -> None:
    await trio.sleep(seconds)  # nothing happens: what everything else is compared with


async def _kill_node(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
    send_signal([dice.choice(chaos.nodes)], signal.SIGKILL)
    await trio.sleep(seconds)  # for its clients to find another


async def _kill_all_nodes(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    send_signal(chaos.nodes, signal.SIGKILL)
    await trio.sleep(seconds)  # for all to come back at once


async def _drain_node(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
    send_signal([dice.choice(chaos.nodes)], signal.SIGTERM)
    await trio.sleep(seconds)  # for its clients to leave


async def _kill_database(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    # The postmaster alone: its backends see that and end. All at once, and Postgres would take the lock for alive.
    send_signal([chaos.postgres.pid], signal.SIGKILL)
    await trio.sleep(seconds)  # for it to replay its log


async def _kill_api(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    send_signal([chaos.system.api.pid], signal.SIGKILL)
    await trio.sleep(seconds)  # for it to come back


async def _kill_bus(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    send_signal([chaos.valkey.pid], signal.SIGKILL)
    await trio.sleep(seconds)  # for it to come back


async def _stop_bus(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    await _stop([chaos.valkey.pid], seconds)


async def _kill_worker(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    send_signal([chaos.system.worker.pid], signal.SIGKILL)
    await trio.sleep(seconds)  # for it to come back


async def _stop(pids: list[int], seconds: float) -> None:
    send_signal(pids, signal.SIGSTOP)
    try:
        await trio.sleep(seconds)  # the fault itself
    finally:
        send_signal(pids, signal.SIGCONT)


async def _stop_node(chaos: ChaosSystem, dice: random.Random, seconds: float) -> None:
    await _stop([dice.choice(chaos.nodes)], seconds)


async def _stop_database(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    await _stop(chaos.family(chaos.postgres), seconds)


async def _stop_api(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    await _stop([chaos.system.api.pid], seconds)


async def _stop_worker(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
    await _stop([chaos.system.worker.pid], seconds)


def _weather(link: Callable[[ChaosSystem], Link], weather: Weather) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        link(chaos).weather = weather
        await trio.sleep(seconds)  # the fault itself
        link(chaos).weather = Weather()

    return apply


def _stall(link: Callable[[ChaosSystem], Link]) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        link(chaos).stall()
        await trio.sleep(seconds)  # the fault itself
        link(chaos).flow()

    return apply


def _reset(link: Callable[[ChaosSystem], Link], times: int = 3) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        for _turn in range(times):
            link(chaos).reset()
            await trio.sleep(seconds / times)  # between two resets

    return apply


def _refuse(link: Callable[[ChaosSystem], Link]) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        link(chaos).refuses = True
        link(chaos).reset()
        await trio.sleep(seconds)  # the fault itself
        link(chaos).refuses = False

    return apply


def _half_close(link: Callable[[ChaosSystem], Link]) -> Apply:
    async def apply(chaos: ChaosSystem, _: random.Random, seconds: float) -> None:
        await link(chaos).half_close()
        await trio.sleep(seconds)  # for both sides to notice

    return apply


def _clients(chaos: ChaosSystem) -> Link:
    return chaos.clients


def _database(chaos: ChaosSystem) -> Link:
    return chaos.database


def _bus(chaos: ChaosSystem) -> Link:
    return chaos.bus


def _requests(chaos: ChaosSystem) -> Link:
    return chaos.requests


_SLOW: Final = Weather(latency=0.06, jitter=0.04)
_SLICED: Final = Weather(slice_bytes=7)
_NARROW: Final = Weather(bytes_per_second=20_000)

FAULTS: Final[dict[str, Fault]] = {
    "calm": Fault(_calm),
    "node-killed": Fault(_kill_node),
    "node-stopped": Fault(_stop_node),
    "node-drained": Fault(_drain_node),
    "all-nodes-killed": Fault(_kill_all_nodes, quick=False),
    "database-killed": Fault(_kill_database),
    "database-stopped": Fault(_stop_database, quick=False),
    "bus-killed": Fault(_kill_bus),
    "bus-stopped": Fault(_stop_bus, quick=False),
    "bus-slow": Fault(_weather(_bus, _SLOW), quick=False),
    "bus-silent": Fault(_stall(_bus), quick=False),
    "bus-reset": Fault(_reset(_bus), quick=False),
    "bus-refused": Fault(_refuse(_bus), quick=False),
    "api-killed": Fault(_kill_api),
    "api-stopped": Fault(_stop_api, quick=False),
    "worker-killed": Fault(_kill_worker, quick=False),
    "worker-stopped": Fault(_stop_worker, quick=False),
    "clients-slow": Fault(_weather(_clients, _SLOW)),
    "clients-sliced": Fault(_weather(_clients, _SLICED), quick=False),
    "clients-narrow": Fault(_weather(_clients, _NARROW), quick=False),
    "clients-silent": Fault(_stall(_clients)),
    "clients-reset": Fault(_reset(_clients)),
    "clients-half-closed": Fault(_half_close(_clients), quick=False),
    "clients-refused": Fault(_refuse(_clients), quick=False),
    "requests-reset": Fault(_reset(_requests), quick=False),
    "database-slow": Fault(_weather(_database, _SLOW), quick=False),
    "database-sliced": Fault(_weather(_database, _SLICED), quick=False),
    "database-silent": Fault(_stall(_database), quick=False),
    "database-reset": Fault(_reset(_database)),
    "database-refused": Fault(_refuse(_database), quick=False),
}
