"""What was measured so far, as it is written to `bench.json`: always whole, so that whoever stops a run keeps it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

Tree: TypeAlias = dict[str, Any]

FILE: Final = "bench.json"


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
        self.write()

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

    def write(self) -> None:
        """Write the file anew, never half of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(self.tree), indent=2) + b"\n")
        beside.replace(self.path)
