"""The demo's result as a file: what was promised, how long each took, on which machine.

No ids, addresses or texts of the story are in it.
"""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from demo.story import Promise


class Machine(Struct, frozen=True):
    """Where it ran."""

    system: str
    architecture: str
    python: str
    cores: int


class Report(Struct, frozen=True):
    """The content of `build/demo.json`."""

    finished_at: datetime
    seconds: float
    kept: int
    broken: int
    promises: tuple[Promise, ...]
    machine: Machine


def write_report(path: Path, promises: list[Promise], seconds: float) -> None:
    """Write the report whole. Raises OSError."""
    report = Report(
        finished_at=datetime.now(UTC),
        seconds=round(seconds, 3),
        kept=sum(promise.broken is None for promise in promises),
        broken=sum(promise.broken is not None for promise in promises),
        promises=tuple(promises),
        machine=Machine(
            system=f"{platform.system()} {platform.release()}",
            architecture=platform.machine(),
            python=platform.python_version(),
            cores=os.cpu_count() or 0,
        ),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    draft.replace(path)
