"""What a seed expands to: options, printed with every failure, and the steps that follow from them.

Swarm testing: each seed switches kinds of faults on and off. A run with everything on hides what only happens when a
fault is absent, and spends its time on being away.
"""

from dataclasses import asdict, dataclass, fields
from random import Random
from typing import Final, NamedTuple

HEALING: Final = 300.0
"""Seconds at the end of a simulation without faults, in which everything must come right."""
PEOPLE: Final = {"alice": ("laptop", "phone"), "bob": ("phone", "tablet"), "carol": ("phone",)}
"""The devices of each person. The first device of alice owns the group, and is never revoked."""
DEVICES: Final = tuple(f"{person}_{device}" for person, devices in PEOPLE.items() for device in devices)


class Step(NamedTuple):
    """Something that happens at a virtual second: what, to whom, and for how long or how much."""

    at: float
    kind: str
    who: str = ""
    amount: float = 0.0

    def __str__(self) -> str:
        amount = f" {self.amount:g}" if self.amount else ""
        return f"{self.at:8.1f} {self.kind} {self.who}{amount}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Options:
    """One seed's options. Numbers of faults are for an hour; a fault that is switched off has none."""

    nodes: int
    roam: float
    """How often a device that connects is sent to a node at random: the balancer is not sticky."""
    sends: int
    small_outbox: bool
    """Whether a node holds so little for a slow peer that it cuts it."""
    short_queue: bool
    """Whether the journal of a node takes so little at once that it refuses the rest."""
    few_places: bool
    """Whether a node has places for three connections: when another one is away, some find none."""
    parts: int
    """How many devices a send names at most in a group, which has five; 0: all of them."""
    client_crash: int
    """Only what its store has committed is left."""
    client_stop: int
    link_cut: int
    link_stall: int
    """What is sent waits, as where TCP has to repeat it."""
    slow_reader: int
    node_kill: int
    """The process dies: the kernel resets its connections."""
    node_vanish: int
    """The machine dies: nobody is told, and clients have to notice the silence."""
    node_drain: int
    node_isolate: int
    """It reaches no database, while clients and the bus still reach it."""
    node_late: int
    """Its loop is late, and it lets nobody in."""
    crash_in_commit: int
    """Between a commit and its answer: neither the sender nor the bus hears of what is stored."""
    database_away: int
    """Every call is refused at once."""
    database_silent: int
    """No call is answered, until each gives up."""
    database_forgets_answers: int
    """Calls are slow, and of some the answer is lost after they were carried out."""
    bus_away: int
    bus_loses: int
    bus_delays: int
    """Events are late, overtake each other, and come twice."""
    api_away: int
    api_loses: int
    """Requests are carried out, and their answers are lost."""
    remove_member: int
    """And invited again after a while."""
    revoke: int
    replay: int
    """Somebody on the way sends the beginning of connections once more."""
    mallory: int
    """One of `TRICKS` each time."""
    restore: int
    """A backup takes the database's place, and an epoch begins."""

    def __str__(self) -> str:
        return " ".join(f"{name}={value:g}" for name, value in asdict(self).items() if value)


FAULTS: Final = {
    "client_crash": 4,
    "client_stop": 3,
    "link_cut": 6,
    "link_stall": 4,
    "slow_reader": 3,
    "node_kill": 3,
    "node_vanish": 2,
    "node_drain": 3,
    "node_isolate": 2,
    "node_late": 2,
    "crash_in_commit": 3,
    "database_away": 2,
    "database_silent": 2,
    "database_forgets_answers": 3,
    "bus_away": 2,
    "bus_loses": 2,
    "bus_delays": 2,
    "api_away": 2,
    "api_loses": 2,
    "remove_member": 2,
    "revoke": 1,
    "replay": 3,
    "mallory": 8,
    "restore": 1,
}
"""How often each fault that is on happens in an hour, at most."""
LENGTHS: Final = {"database_silent": 20.0, "database_away": 30.0, "restore": 60.0, "replay": 1.0}
"""Seconds that a fault lasts at most; a minute and a half for others."""
TIGHT: Final = 0.3
"""How often a limit of the nodes is a small one."""
TRICKS: Final = ("handshakes", "garbage", "flood", "deaf", "lurks", "silent", "frames", "requests", "moves")
"""What Mallory does: see `simulation.mallory`."""
OFTEN_OFF: Final = frozenset({"restore", "revoke", "database_silent"})
"""Seven of ten seeds go without each. After a restore the observers can demand much less, and a device that is revoked
early takes no part in the rest."""

MID_SEND: Final = frozenset({"remove_member", "revoke", "node_drain"})
"""While these happen many write: the roster is to change, or the node to go, under messages that are on their way."""


def expand(seed: int) -> Options:
    """Return the options of a seed."""
    random = Random(seed)
    faults = {
        name: random.randint(1, most) if random.random() < (0.3 if name in OFTEN_OFF else 0.5) else 0
        for name, most in FAULTS.items()
    }
    if faults["restore"]:
        # What a restore loses besides messages, no client can send again: faults are bounded by what can be recovered.
        faults["remove_member"] = faults["revoke"] = 0
    nodes = random.choice((1, 2, 2, 3))
    return Options(
        nodes=nodes,
        roam=random.choice((0.0, 0.3, 1.0)),
        sends=random.choice((10, 20, 40)),
        small_outbox=random.random() < TIGHT,
        short_queue=random.random() < TIGHT,
        few_places=random.random() < TIGHT and nodes > 1,
        parts=random.choice((0, 0, 1, 2)),
        **faults,
    )


def schedule(seed: int, options: Options, hours: float) -> list[Step]:
    """Return the steps of a simulation, by time."""
    random = Random(seed + 1)
    end = hours * 3_600 - HEALING
    steps = []
    for field in fields(Options):
        if field.name in FAULTS:
            count = getattr(options, field.name)
            tricks = random.sample(TRICKS, len(TRICKS))
            for _ in range(round(count * hours) or (count > 0 and random.random() < hours)):
                length = random.uniform(1.0, LENGTHS.get(field.name, 90.0))
                moment = random.uniform(10, max(end - length - 10, 20))
                who = tricks.pop() if field.name == "mallory" else _target(random, field.name, options)
                steps.append(Step(moment, field.name, who, length))
                # Somebody is writing when it happens: otherwise most faults meet an idle system.
                steps += _writing(random, moment - 0.5)
                if field.name == "node_drain" and options.mallory:
                    steps.append(Step(moment - 1, "mallory", "lurks", length))  # somebody who does not go when asked
                if field.name in MID_SEND:
                    steps += [each for _ in range(8) for each in _writing(random, moment + random.uniform(-1, 2))]
    for _ in range(round(options.sends * hours)):
        steps += _writing(random, random.uniform(5, end))
    for _ in range(round(10 * hours)):
        steps.append(
            Step(random.uniform(5, end), random.choice(("read", "typing", "presence")), random.choice(DEVICES))
        )
    return sorted(steps)


def _writing(random: Random, moment: float) -> list[Step]:
    """People answer each other: a few texts in a row find what one by one never does."""
    sender, talk = random.choice(DEVICES), random.choice(("group", "group", "dm"))
    steps = []
    for _ in range(random.choice((1, 1, 2, 4))):
        steps.append(Step(moment, f"send_{talk}", sender))
        moment += random.expovariate(2.0)
    return steps


def _target(random: Random, kind: str, options: Options) -> str:
    if kind.startswith(("client", "link", "slow", "replay")):
        return random.choice(DEVICES)
    if kind.startswith(("node", "crash")):
        return f"n{random.randrange(options.nodes)}"
    if kind == "revoke":
        return random.choice(("alice_phone", "bob_tablet"))
    return random.choice(("bob", "carol")) if kind == "remove_member" else ""
