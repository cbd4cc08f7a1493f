"""What a node, a connection and a message cost, as slopes through several runs; and what many of them would cost."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final

import numpy as np
from msgspec import Struct

from loadtest.exits import CouldNotRun
from loadtest.report.result import Result

GROUPS: Final = ("relay", "postgres", "api")
LEAST_RUNS: Final = 4
_PERCENT_MS: Final = 10  # a percent of a core is ten milliseconds a second
_PERCENT_CORE: Final = 100
BUSY: Final = 0.6
"""Of a core, what a relay node may use on average: beyond, its lateness grows faster than its load."""
NODE_CONNECTIONS: Final = 15_000  # the default of VARDE_RELAY_CONNECTIONS


class Slope(Struct, frozen=True):
    """What each adds to a figure: a node, a connection, a message a second, and one whose reader is at another node."""

    node: float
    connection: float
    message: float
    crossing: float

    def at(self, nodes: float, connections: float, messages: float) -> float:
        """Return the figure for so much, with senders and readers at any node alike."""
        slopes = (self.node, self.connection, self.message, self.crossing)
        amounts = zip(slopes, amounts_of(nodes, connections, messages), strict=True)
        return sum(slope * amount for slope, amount in amounts)


def amounts_of(nodes: float, connections: float, messages: float) -> tuple[float, float, float, float]:
    """Return what a `Slope` has slopes for. In a fleet, most readers are at another node than the sender."""
    return nodes, connections, messages, messages * (1 - 1 / nodes) if nodes else 0.0


class Slopes(Struct, frozen=True):
    """By the name of the program: CPU in percent of a core, memory in MiB. `misfit` is of the worst run."""

    cpu: dict[str, Slope]
    memory: dict[str, Slope]
    misfit: dict[str, float]


def slopes_of(results: Sequence[Result]) -> Slopes:
    """Lay planes through the judged stages of runs. Raises CouldNotRun for runs that do not tell the three apart."""
    amounts = [_amounts(result) for result in results]
    table = np.array(amounts)
    # A column that never moves cannot be told from another one. Runs without messages and with several nodes can.
    if len(results) < LEAST_RUNS or np.linalg.matrix_rank(table / np.maximum(table.max(axis=0), 1)) < table.shape[1]:
        raise CouldNotRun(
            "these runs do not tell nodes, connections and messages apart",
            "Give four or more runs of fresh stacks that differ in each: see docs/operations/capacity.md.",
        )
    cpu, memory, misfit = dict[str, Slope](), dict[str, Slope](), dict[str, float]()
    for group in GROUPS:
        for kind, found in (("cpu_percent", cpu), ("rss_mib", memory)):
            seen = np.array([_mean(result, group, kind) for result in results])
            fitted, *_ = np.linalg.lstsq(table, seen, rcond=None)
            found[group] = Slope(*(float(each) for each in fitted))
            if kind == "cpu_percent":
                misfit[group] = 100 * float(np.max(np.abs(table @ fitted - seen) / np.maximum(seen, 1e-9)))
    return Slopes(cpu, memory, misfit)


def _amounts(result: Result) -> tuple[float, float, float, float]:
    if not result.judged_series or not any(_has(sample.server) for sample in result.judged_series):
        raise CouldNotRun(f"{result.scenario}: its servers were not watched, or it has no judged stage")
    nodes = {key.partition(".")[0] for sample in result.judged_series for key in sample.server if _is_node(key)}
    connected = fmean(sample.connected for sample in result.judged_series)
    return amounts_of(len(nodes), connected, fmean(sample.sent_per_second for sample in result.judged_series))


def _has(server: dict[str, float]) -> bool:
    return "postgres.cpu_percent" in server


def _is_node(key: str) -> bool:
    return key.startswith("relay-") and key.endswith(".cpu_percent")


def _mean(result: Result, group: str, kind: str) -> float:
    """Return the mean over the judged stages, of all processes of a group together."""
    return fmean(
        sum(value for key, value in sample.server.items() if _belongs(key, group, kind))
        for sample in result.judged_series
        if _has(sample.server)
    )


def _belongs(key: str, group: str, kind: str) -> bool:
    name, _, what = key.partition(".")
    return what == kind and (name == group or name.startswith(f"{group}-"))


def words_of(slopes: Slopes, connections: int, messages: float) -> str:
    """Return the slopes, and what so many connections and messages a second would take."""
    lines = ["", "each                      node    connection     message/s  to another node"]
    for group in GROUPS:
        cpu, memory = slopes.cpu[group], slopes.memory[group]
        times = 1_000 * _PERCENT_MS
        lines.append(
            f"{group:9} CPU   {_PERCENT_MS * cpu.node:10.2f} ms/s {times * cpu.connection:9.1f} us/s"
            f" {times * cpu.message:10.0f} us {times * cpu.crossing:10.0f} us  (off by {slopes.misfit[group]:.0f} %)"
        )
        lines.append(
            f"          memory {memory.node:9.1f} MiB  {1_024 * memory.connection:9.1f} KiB"
            f" {1_024 * memory.message:10.1f} KiB {1_024 * memory.crossing:9.1f} KiB"
        )
    relay = slopes.cpu["relay"]
    by_places = math.ceil(connections / NODE_CONNECTIONS)
    each = _PERCENT_CORE * BUSY - relay.node
    shared = relay.at(by_places, connections, messages) - relay.node * by_places
    by_cpu = math.ceil(shared / each) if each > 0 else 0
    nodes = max(by_places, by_cpu)
    database = slopes.cpu["postgres"].at(nodes, connections, messages) / _PERCENT_CORE
    gib = slopes.memory["relay"].at(nodes, connections, messages) / 1_024
    lines += [
        "",
        f"{connections:,} connections with {messages:,g} messages a second:",
        f"  relay nodes  {nodes:,} (places: {by_places:,}; CPU at {BUSY:.0%} of a core: {by_cpu:,}), {gib:,.0f} GiB",
        f"  Postgres     {database:,.1f} cores",
    ]
    return "\n".join(lines)
