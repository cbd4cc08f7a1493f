"""What was measured so far, as `bench.json` has it, and how it stands to what the design promises (`targets.toml`)."""

import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from cryptography.exceptions import InvalidTag

from bench.server import VARDE
from loadtest.client.websocket import ServerFault
from loadtest.report.result import write_whole
from varde_contract.errors import PeerFault

Tree: TypeAlias = dict[str, Any]
Point: TypeAlias = dict[str, object]  # one measured point as it is written to JSON

FILE: Final = "bench.json"
FAULTS: Final = (ServerFault, OSError, EOFError, subprocess.SubprocessError, InvalidTag, PeerFault)
"""How a server can fail a measurement; what is said is kept in the results."""
RATIOS: Final = {
    "fanout.light": "fanout.{}.light.us_per_delivery",
    "fanout.saturated": "fanout.{}.saturated.us_per_delivery",
    "direct": "direct.{}.us_per_message",
    "idle": "idle.{}.rss_kib_per_connection",
}
"""Figures of a server of which less is better."""
_TARGETS: Final = Path(__file__).with_name("targets.toml")


class Results:
    """A tree of figures by name. It is whole on the disk when `put` returns, so whoever stops a run keeps it."""

    def __init__(self, folder: Path, tree: Tree | None = None) -> None:
        self.path = folder / FILE
        self.tree: Tree = tree or {}

    @classmethod
    def read(cls, folder: Path) -> "Results":
        """Return what an earlier run wrote. Raises OSError, msgspec.DecodeError."""
        return cls(folder, msgspec.json.decode((folder / FILE).read_bytes(), type=dict[str, Any]))

    def put(self, *names: str, value: object) -> None:
        """Keep a value under a path of names."""
        branch = self.tree
        for name in names[:-1]:
            branch = branch.setdefault(name, {})
        branch[names[-1]] = msgspec.to_builtins(value)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, msgspec.json.format(msgspec.json.encode(self.tree), indent=2) + b"\n")

    def merge(self, *names: str, value: Mapping[str, object]) -> None:
        """Put each part of a mapping."""
        for name, part in value.items():
            self.put(*names, name, value=part)

    def find(self, key: str) -> Any:
        """Return what is under a key such as `direct.varde.us_per_message`, None where nothing is.

        In the growth of idle connections, a step goes by the name of its connections.
        """
        branch: Any = self.tree
        for name in key.split("."):
            if isinstance(branch, list):
                branch = {str(step["connections"]): step for step in branch}
            branch = branch.get(name) if isinstance(branch, dict) else None
        return branch


def rounded(value: float) -> float:
    """Return a figure with the four digits that a benchmark can claim."""
    return float(f"{value:.4g}")


def point_of(key: str, values: Sequence[float]) -> Point:
    """Return the median of all rounds under `key`, with the smallest and the largest value, and all in their order."""
    return {
        key: rounded(statistics.median(values)),
        "spread": [rounded(min(values)), rounded(max(values))],
        "rounds": [rounded(value) for value in values],
    }


def judge(results: Results) -> list[Tree]:
    """Hold every target against a run. `met` is None where nothing was measured."""
    return [_verdict(results, **target) for target in msgspec.toml.decode(_TARGETS.read_bytes())["target"]]


def _verdict(results: Results, what: str, unit: str, figure: str, of: str = "", **limits: float) -> Tree:
    """`limits` is one, `most` or `least`."""
    (kind, limit), measured = *limits.items(), _ratio(results, figure, of)
    met = None if measured is None else measured <= limit if kind == "most" else measured >= limit
    text = f"{'≤' if kind == 'most' else '≥'} {limit:,.6g}{unit}"
    return {"what": what, "target": text, "measured": measured, "met": met}


def _ratio(results: Results, figure: str, of: str) -> float | None:
    upper, lower = results.find(figure), results.find(of) if of else 1.0
    return float(upper / lower) if upper is not None and lower else None


def ratios_of(results: Results) -> dict[str, dict[str, float]]:
    """Return, for each of `RATIOS`, Varde's figure as a multiple of each peer's."""
    found: dict[str, dict[str, float]] = {}
    for name, key in RATIOS.items():
        peers = [peer for peer in results.find(name.partition(".")[0]) or {} if peer != VARDE]
        ratios = {peer: _ratio(results, key.format(VARDE), key.format(peer)) for peer in peers}
        found[name] = {peer: round(ratio, 3) for peer, ratio in ratios.items() if ratio is not None}
    return found
