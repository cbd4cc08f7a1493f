"""What can happen in a simulation: one function for each kind of step, and the end of all faults.

A function runs as a task. It undoes what it did; when faults end before that, `heal` does.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from simulation.bus import QUICK
from simulation.devices import Device
from simulation.mallory import perform_trick
from simulation.options import FAULTS, Step
from varde.client import Client
from varde_contract.exception_groups import locate
from varde_contract.ids import ConversationId
from varde_contract.talk import PresenceState

if TYPE_CHECKING:
    from simulation.run import World

KINDS: Final = tuple(FAULTS)
RESTART: Final = 3.0
"""Seconds until a supervisor starts what has ended."""

LATE: Final = 3.0
"""Seconds: beyond what a node lets newcomers in with."""

Perform = Callable[["World", Step, trio.Nursery], Awaitable[None]]


async def perform(world: "World", step: Step, nursery: trio.Nursery) -> None:
    """Do one step. Processes that it starts live in the nursery, beyond the end of all faults."""
    if not step.kind.startswith("send"):
        world.observers.note(f"step {step.kind} {step.who} {step.amount:.1f}")
    try:
        await _STEPS[step.kind](world, step, nursery)
    except Exception as surprise:  # noqa: BLE001 - whatever the product raises and does not promise is a finding
        world.observers.fault(f"{step.kind} raised {locate(surprise)}")


async def heal(world: "World", nursery: trio.Nursery) -> None:
    """End every fault, and start whatever should run."""
    database, bus, fleet = world.database, world.bus, world.fleet
    database.away = database.silent = fleet.api_away = False
    database.lose_answers = bus.lose = bus.repeat = fleet.lose_responses = 0.0
    database.slow, bus.delay = 1.0, QUICK
    for node in fleet.nodes.values():
        node.process.away = node.process.crash_in_commit = False
    bus.come_back()
    for link in world.network.links:
        link.stalled_until = 0.0
        link.client.reads_from = 0.0
        world.network.wake(link)
    for host in _hosts(world):
        fleet.start(host)
    for device in world.devices.values():
        if device.client is None:
            nursery.start_soon(device.run)
    await trio.sleep(RESTART)
    # Once more: a node that was about to end at the first look is gone by now.
    for host in _hosts(world):
        fleet.start(host)
        _set_lateness(world, host, 0.0)
    await trio.sleep(RESTART)
    # Rebalanced: after a node has died everybody is at those that are left, and no message crosses the bus.
    for link in tuple(world.network.links):
        if link.owner in world.devices and world.devices[link.owner].home != link.node:
            link.cut()


def check_ends(world: "World") -> None:
    """Look at what must be true at the end: who was revoked is connected nowhere."""
    for node in world.fleet.nodes.values():
        for device in world.devices.values():
            # By what was carried out: nobody may have been told whether it was.
            gone = world.observers.is_revoked(device.id)
            if gone and node.services is not None and node.services.hub.find(device.id) is not None:
                world.observers.fault(f"{device.name} was revoked and is connected to {node.host}")


async def _send(world: "World", step: Step, _: trio.Nursery) -> None:
    device, talk = world.devices[step.who], world.talks[step.kind.removeprefix("send_")]
    if device.client is not None and device.id in world.observers.talks[talk].since:
        device.send_soon(talk, world.next_text())
    await trio.lowlevel.checkpoint()


async def _read(world: "World", step: Step, _: trio.Nursery) -> None:
    device = world.devices[step.who]
    for talk in _talks(world, device):
        upto = device.store.conversations.upto(talk)
        if upto:
            await device.do(partial(_mark_read, talk, upto))


async def _mark_read(talk: ConversationId, upto: int, client: Client) -> None:
    await client.conversation(talk).read(upto)


async def _typing(world: "World", step: Step, _: trio.Nursery) -> None:
    device = world.devices[step.who]
    for talk in _talks(world, device):
        if device.client is not None and device.store.conversations.upto(talk) is not None:
            device.client.conversation(talk).typing(True)
    await trio.lowlevel.checkpoint()


async def _presence(world: "World", step: Step, _: trio.Nursery) -> None:
    device = world.devices[step.who]
    if device.client is not None:
        device.client.presence(PresenceState.ACTIVE)
    await trio.lowlevel.checkpoint()


async def _client_crash(world: "World", step: Step, nursery: trio.Nursery) -> None:
    device = world.devices[step.who]
    if device.client is not None:
        device.crash()
        await trio.sleep(step.amount)
        _start(device, nursery)


async def _client_stop(world: "World", step: Step, nursery: trio.Nursery) -> None:
    device = world.devices[step.who]
    if device.client is not None:
        device.stop()
        await trio.sleep(step.amount + RESTART)
        _start(device, nursery)


async def _link_cut(world: "World", step: Step, _: trio.Nursery) -> None:
    for link in world.network.links_of(owner=step.who):
        link.cut()
    await trio.lowlevel.checkpoint()


async def _link_stall(world: "World", step: Step, _: trio.Nursery) -> None:
    for link in world.network.links_of(owner=step.who):
        link.stalled_until = trio.current_time() + step.amount
    await trio.lowlevel.checkpoint()


async def _slow_reader(world: "World", step: Step, _: trio.Nursery) -> None:
    for link in world.network.links_of(owner=step.who):
        link.client.reads_from = trio.current_time() + step.amount
    await trio.lowlevel.checkpoint()


async def _node_kill(world: "World", step: Step, _: trio.Nursery) -> None:
    world.fleet.kill(step.who, silent=step.kind == "node_vanish")
    await trio.sleep(step.amount / 4)
    world.fleet.start(step.who)


async def _node_drain(world: "World", step: Step, _: trio.Nursery) -> None:
    node = world.fleet.nodes.get(step.who)
    if node is not None:
        world.fleet.drain(step.who)
        await node.ended.wait()
        await trio.sleep(RESTART)
        world.fleet.start(step.who)


async def _node_isolate(world: "World", step: Step, _: trio.Nursery) -> None:
    node = world.fleet.nodes.get(step.who)
    if node is not None:
        node.process.away = True
        await trio.sleep(step.amount)
        node.process.away = False


async def _node_late(world: "World", step: Step, _: trio.Nursery) -> None:
    """The loop of a node is late, and it lets nobody in. Nothing measures it here, so it stays so until the end."""
    _set_lateness(world, step.who, LATE)
    await trio.sleep(step.amount)
    _set_lateness(world, step.who, 0.0)


async def _crash_in_commit(world: "World", step: Step, _: trio.Nursery) -> None:
    node = world.fleet.nodes.get(step.who)
    if node is not None:
        node.process.crash_in_commit = True
        await node.ended.wait()
        await trio.sleep(RESTART)
        world.fleet.start(step.who)


async def _database(world: "World", step: Step, _: trio.Nursery) -> None:
    database = world.database
    match step.kind:
        case "database_away":
            database.away = True
            await trio.sleep(step.amount)
            database.away = False
        case "database_silent":
            database.silent = True
            await trio.sleep(step.amount)
            database.silent = False
        case _:
            database.lose_answers, database.slow = 0.2, 20.0
            await trio.sleep(step.amount)
            database.lose_answers, database.slow = 0.0, 1.0


async def _bus(world: "World", step: Step, _: trio.Nursery) -> None:
    bus = world.bus
    match step.kind:
        case "bus_away":
            bus.go_away()
            await trio.sleep(step.amount)
            bus.come_back()
        case "bus_loses":
            bus.lose = 0.5
            await trio.sleep(step.amount)
            bus.lose = 0.0
        case _:
            bus.delay, bus.repeat = 5.0, 0.3
            await trio.sleep(step.amount)
            bus.delay, bus.repeat = QUICK, 0.0


async def _api(world: "World", step: Step, _: trio.Nursery) -> None:
    if step.kind == "api_away":
        world.fleet.api_away = True
        await trio.sleep(step.amount)
        world.fleet.api_away = False
    else:
        world.fleet.lose_responses = 0.3
        await trio.sleep(step.amount)
        world.fleet.lose_responses = 0.0


async def _remove_member(world: "World", step: Step, _: trio.Nursery) -> None:
    """The owner removes somebody, and after a while invites them again; the first of their devices accepts."""
    group, owner = world.talks["group"], world.devices["alice_laptop"]
    gone = next(device for device in world.devices.values() if device.person == step.who)
    if await owner.do(lambda client: client.conversation(group).remove(gone.profile)):
        await trio.sleep(step.amount)
    await owner.do(lambda client: client.conversation(group).invite(gone.profile))
    await trio.sleep(2.0)
    await gone.do(lambda client: client.conversation(group).accept())


async def _revoke(world: "World", step: Step, _: trio.Nursery) -> None:
    device = world.devices[step.who]
    by = next(each for each in world.devices.values() if each.person == device.person and each is not device)
    if by.client is None:
        return  # nobody is there to do it
    device.revoked = True  # from before the call: nobody knows whether one that fails was carried out
    await by.do(lambda client: client.revoke_device(device.id))


async def _replay(world: "World", step: Step, _: trio.Nursery) -> None:
    """Somebody on the way sends the beginning of a connection once more, to every node."""
    recorded = [b"".join(link.recorded) for link in world.network.links_of(owner=step.who)]
    for host in sorted(world.network.listeners):
        for first in recorded:
            stream = world.network.connect("mallory", host)
            await _try_to_send(stream, first)
    await trio.sleep(step.amount)


async def _mallory(world: "World", step: Step, _: trio.Nursery) -> None:
    await perform_trick(world, step.who, step.amount)


async def _restore(world: "World", step: Step, _: trio.Nursery) -> None:
    """The database is lost, and a backup of a minute ago at most takes its place."""
    backup = world.database.back_up()
    await trio.sleep(step.amount)
    world.database.away = True
    # Until all that is under way has failed: a commit of before must not land in the restored database.
    await trio.sleep(RESTART)
    world.observers.restore({each.id: each.head for each in backup.talks.values()})
    world.database.restore(backup)
    world.database.away = False


_STEPS: Final[dict[str, Perform]] = {
    "send_group": _send,
    "send_dm": _send,
    "read": _read,
    "typing": _typing,
    "presence": _presence,
    "client_crash": _client_crash,
    "client_stop": _client_stop,
    "link_cut": _link_cut,
    "link_stall": _link_stall,
    "slow_reader": _slow_reader,
    "node_kill": _node_kill,
    "node_vanish": _node_kill,
    "node_drain": _node_drain,
    "node_isolate": _node_isolate,
    "node_late": _node_late,
    "crash_in_commit": _crash_in_commit,
    "database_away": _database,
    "database_silent": _database,
    "database_forgets_answers": _database,
    "bus_away": _bus,
    "bus_loses": _bus,
    "bus_delays": _bus,
    "api_away": _api,
    "api_loses": _api,
    "remove_member": _remove_member,
    "revoke": _revoke,
    "replay": _replay,
    "mallory": _mallory,
    "restore": _restore,
}


def _set_lateness(world: "World", host: str, seconds: float) -> None:
    node = world.fleet.nodes.get(host)
    if node is not None and node.services is not None:
        node.services.admission.lateness = seconds


def _start(device: Device, nursery: trio.Nursery) -> None:
    if device.client is None:
        nursery.start_soon(device.run)


def _hosts(world: "World") -> list[str]:
    return [f"n{number}" for number in range(world.options.nodes)]


def _talks(world: "World", device: Device) -> list[ConversationId]:
    return [talk for talk in world.talks.values() if device.id in world.observers.talks[talk].since]


async def _try_to_send(stream: trio.abc.SendStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        return
