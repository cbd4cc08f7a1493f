"""What was measured so far, as `bench.json` has it: always whole on disk, so that whoever stops a run keeps it.

Also how several rounds of one figure become one point.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

Tree: TypeAlias = dict[str, Any]
Point: TypeAlias = dict[str, object]  # one measured point as it is written to JSON

FILE: Final = "bench.json"
_DIGITS: Final = 4


class Results:
    """A tree of figures by name. Every `put` is on the disk when it returns."""

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
        self._write()

    def merge(self, *names: str, value: Mapping[str, object]) -> None:
        """Put each part of a mapping."""
        for name, part in value.items():
            self.put(*names, name, value=part)

    def find(self, *names: str) -> Any:
        """Return what is there, None where nothing is."""
        branch: Any = self.tree
        for name in names:
            branch = branch.get(name) if isinstance(branch, dict) else None
        return branch

    def number(self, *names: str) -> float | None:
        """Return a figure, None where none was measured."""
        found = self.find(*names)
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(self.tree), indent=2) + b"\n")
        beside.replace(self.path)


def rounded(value: float) -> float:
    """Return a figure with the four digits that a benchmark can claim."""
    return float(f"{value:.{_DIGITS}g}")


def point_of(key: str, values: Sequence[float]) -> Point:
    """Return the median under `key`, with the smallest and the largest value, and all in their order."""
    return {
        key: rounded(statistics.median(values)),
        "spread": [rounded(min(values)), rounded(max(values))],
        "rounds": [rounded(value) for value in values],
    }
