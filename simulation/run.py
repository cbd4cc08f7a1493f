"""One simulation: people who write to each other while things fail, then a time to heal, then what must be true."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any, Final

import trio

from settings.relay import RelaySettings
from simulation import determinism, faults
from simulation.bus import SimulatedBus
from simulation.coverage import reached
from simulation.database import Database
from simulation.devices import Device, Saved, load
from simulation.fleet import Fleet
from simulation.mallory import Mallory, SavedMallory
from simulation.network import Network
from simulation.observers import Observers
from simulation.options import HEALING, PEOPLE, Options, Step, expand, schedule
from simulation.stores.memory import Memory
from varde.crypto import keychain
from varde_contract.ids import ConversationId

NO_FAULTS: Final = Options(
    nodes=1,
    roam=0.0,
    sends=0,
    small_outbox=False,
    short_queue=False,
    few_places=False,
    parts=0,
    **dict.fromkeys(faults.KINDS, 0),
)
"""For setting up, which is the same for all seeds."""
CONVERGENCE: Final = 120.0
"""Virtual seconds without faults until everybody has everything. The slow rounds take 45 and 60, and a client that was
told to wait pauses for at most 30 more."""
LAST_WORD: Final = 10.0
"""Virtual seconds for a message in a system that is well: the tail of the journal takes two."""


@dataclass(frozen=True)
class Report:
    """What became of a seed."""

    seed: int
    options: Options
    steps: Sequence[Step]
    violations: Sequence[str]
    lines: Sequence[str]
    digest: str
    hours: float
    cpu: float
    converged: float
    """Virtual seconds from the end of all faults until everybody had everything."""
    refusals: Counter[str] = field(default_factory=Counter)
    closes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Start:
    """Enrolled people in their conversations: every simulation begins with a copy of it."""

    memory: Memory
    devices: Sequence[Saved]
    observers: Observers
    group: ConversationId
    dm: ConversationId
    mallory: SavedMallory


class World:
    """Everything in one simulation."""

    def __init__(self, seed: int, options: Options, memory: Memory) -> None:
        self.options = options
        # Options, steps and what happens draw from sources of their own (seed, seed + 1, seed + 2): a schedule that is
        # shrunk leaves the options as they are.
        random = Random(seed + 2)
        self.random = random
        self.observers = Observers(options)
        self.network = Network(random)
        self.database = Database(memory, random, random.randbytes)
        self.database.observe = self.observers.stored
        self.bus = SimulatedBus(random)
        # Strict: a surprise in one connection is a finding and not a line in a log.
        settings = RelaySettings(strict=True)
        if options.small_outbox:
            settings = replace(settings, outbox_bytes=4_096)
        if options.short_queue:
            settings = replace(settings, queue_drafts=2)  # of which a conversation may have one
        if options.few_places:
            settings = replace(settings, connections=3)
        self.fleet = Fleet(
            self.network,
            self.database,
            self.bus,
            random,
            settings,
            note=self.observers.note,
            fault=self.observers.fault,
        )
        self.devices: dict[str, Device] = {}
        self.talks: dict[str, ConversationId] = {}
        self.texts = 0
        self.guest: Mallory | None = None

    @property
    def mallory(self) -> Mallory:
        """Who breaks the rules."""
        assert self.guest is not None
        return self.guest

    def put(self, device: Device) -> None:
        """Let an enrolled device be known to the observers."""
        self.devices[device.name] = device
        self.observers.devices[device.id] = device

    def next_text(self) -> str:
        """Return a text that nobody wrote before."""
        self.texts += 1
        return f"t{self.texts}"


def simulate(
    seed: int,
    hours: float = 1.0,
    *,
    options: Options | None = None,
    steps: Sequence[Step] | None = None,
    eager: bool = False,
) -> Report:
    """Run one seed, with `options` and `steps` instead of its own. With `eager`, the first violation ends it."""
    start, stopwatch, options = start_of_all(), determinism.Stopwatch(), options or expand(seed)
    chosen = schedule(seed, options, hours) if steps is None else list(steps)
    world: list[World] = []
    converged = determinism.run(seed, lambda: _run(seed, options, chosen, hours, start, world.append, eager=eager))
    (made,) = world
    observers = made.observers
    for services in made.fleet.all_services:
        observers.counts["gaps"] += sum(services.metrics.gaps.values())
    refusals, closes = reached(made.fleet)
    return Report(
        *(seed, options, chosen, observers.violations, observers.lines, observers.digest, hours),
        *(stopwatch.seconds, converged, refusals, closes, observers.counts),
    )


async def _run(
    seed: int,
    options: Options,
    steps: Sequence[Step],
    hours: float,
    start: Start,
    made: Callable[[World], None],
    *,
    eager: bool,
) -> float:
    world, converged = World(seed, options, deepcopy(start.memory)), 0.0
    made(world)
    world.database.memory.clock = determinism.now_ms
    world.observers.adopt(start.observers)
    world.talks = {"group": start.group, "dm": start.dm}
    with ExitStack() as stack:
        stack.enter_context(world.network.installed())
        stack.enter_context(world.fleet.installed())
        if options.parts:
            stack.enter_context(determinism.replaced(keychain, "DEVICES_PER_PART", options.parts))
        async with trio.open_nursery() as nursery:
            if eager:
                world.observers.at_first_fault = nursery.cancel_scope.cancel
            # `start` and not `start_soon`: nodes live in the nursery that it opens.
            await nursery.start(world.fleet.run)
            for number in range(options.nodes):
                world.fleet.start(f"n{number}")
            for number, saved in enumerate(start.devices):
                device = load(saved, world.fleet, world.observers, world.random)
                device.home = f"n{number % options.nodes}"
                world.put(device)
            world.guest = Mallory.load(start.mallory, world)
            for device in world.devices.values():
                nursery.start_soon(device.run)
            async with trio.open_nursery() as failing:
                for step in steps:
                    await trio.sleep_until(step.at)
                    failing.start_soon(faults.perform, world, step, nursery)
                await trio.sleep_until(hours * 3_600 - HEALING)
                # Faults that last longer are cancelled where they are; `heal` undoes them.
                failing.cancel_scope.cancel()
            converged = await _converge(world, nursery)
            faults.check_ends(world)
            world.observers.counts["jumps"] = determinism.current_clock().jumps
            nursery.cancel_scope.cancel()
    return converged


async def _converge(world: World, nursery: trio.Nursery) -> float:
    """Heal everything for good, write once more from everywhere, and demand that all of it arrives."""
    world.observers.note("everything heals")
    began = trio.current_time()
    await faults.heal(world, nursery)
    # First what was written before: a new message would make listeners read what they had missed.
    await _wait_for_all(world, CONVERGENCE)
    for device in world.devices.values():
        _write_everywhere(world, device)
    await _wait_for_all(world, CONVERGENCE)
    took = trio.current_time() - began
    # Then one alone has the last word, and the bus loses its event without a word. Nothing comes behind it that would
    # show a gap: only the tail of the journal can bring it.
    world.bus.lose = 1.0
    _write_everywhere(world, world.random.choice([each for each in world.devices.values() if not each.revoked]))
    await _wait_for_all(world, LAST_WORD)
    await trio.sleep(2.0)  # for positions that were confirmed to be stored
    return took


def _write_everywhere(world: World, device: Device) -> None:
    for talk in sorted(world.talks):
        if device.id in world.observers.talks[world.talks[talk]].since and not device.revoked:
            device.send_soon(world.talks[talk], world.next_text())


async def _wait_for_all(world: World, seconds: float) -> None:
    until = trio.current_time() + seconds
    await trio.sleep(1.0)
    while world.observers.missing() and trio.current_time() < until:  # noqa: ASYNC110 - it is asked of many stores
        await trio.sleep(1.0)
    for missing in world.observers.missing():
        world.observers.fault(f"{seconds:.0f} s without faults, and {missing}")


@cache
def start_of_all() -> Start:
    """Enrol everybody and open their conversations, once for a process: it takes as long as half a simulation."""
    found: list[Start] = []
    determinism.run(0, lambda: _set_up(found.append), began_ms=determinism.START_MS - determinism.SETTING_UP_MS)
    return found[0]


async def _set_up(found: Callable[[Start], None]) -> None:
    memory = Memory(clock=determinism.now_ms)
    world = World(0, NO_FAULTS, memory)
    with ExitStack() as stack:
        stack.enter_context(world.network.installed())
        stack.enter_context(world.fleet.installed())
        async with trio.open_nursery() as nursery:
            await nursery.start(world.fleet.run)
            world.fleet.start("n0")
            await _enrol(world, nursery)
            group, dm = await _open_talks(world)
            mallory = await Mallory.enrol(world, nursery)
            await trio.sleep(5.0)
            for device in world.devices.values():
                device.stop()
            await trio.sleep(5.0)
            assert not world.observers.violations, world.observers.violations
            saved = [device.save() for device in world.devices.values()]
            found(Start(memory, saved, world.observers, group, dm, mallory.save()))
            nursery.cancel_scope.cancel()


async def _enrol(world: World, nursery: trio.Nursery) -> None:
    for person, names in PEOPLE.items():
        phrase: str | None = None
        for name in names:
            device = Device(f"{person}_{name}", person, world.fleet, world.observers, world.random)
            await device.enrol(phrase)
            phrase = device.phrase
            world.put(device)
    await trio.sleep(60.0)  # until all lists are in the log
    for device in world.devices.values():
        await nursery.start(device.run)
        await _client(device).wait_connected()


async def _open_talks(world: World) -> tuple[ConversationId, ConversationId]:
    alice, bob, carol = (world.devices[name] for name in ("alice_laptop", "bob_phone", "carol_phone"))
    group = await _client(alice).open_group((bob.profile, carol.profile))
    dm = await _client(alice).open_dm(bob.profile)
    for device in (bob, carol):
        for request in await _client(device).requests():
            await _client(device).conversation(request.conversation).accept()
    return group.id, dm.id


def _client(device: Device) -> Any:
    assert device.client is not None
    return device.client
