"""What the supervisor has to know of a program: how to run it, how it says that it is ready, how to stop it.

Nothing is started here.
"""

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

SECONDS: Final = 1.0

Recognise: TypeAlias = Callable[[str], str | None]
"""Takes one line of the program's output and returns its address when this line says that it is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program. The environment is not shown: it may hold the password of a database."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    recognise: Recognise = field(repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    start_patience: float = 30 * SECONDS
    stop_patience: float = 15 * SECONDS
    tier: int = 0
    """Should we be killed, it is stopped before those of lower tiers, and at once with those of its own."""


def announcement(name: str) -> Recognise:
    """Recognise the line `{"ready": name, "address": "..."}`, with which the programs of this house say it."""

    def recognise(line: str) -> str | None:
        if not line.startswith("{"):
            return None
        try:
            said = json.loads(line)
        except ValueError:
            return None
        return str(said.get("address", "")) if said.get("ready") == name else None

    return recognise


def log_line(part: str, address: str) -> Recognise:
    """Recognise a line that contains `part`; the address is known beforehand."""
    return lambda line: address if part in line else None


def never(_line: str) -> str | None:
    """For a program that does its work and ends."""
    return None
