"""The transparency log: what an entry, a proof, a look-up and an audit cost at a million entries."""

import json
import subprocess
import sys
from typing import Final

from bench.results import Tree, rounded
from bench.run import Options

ENTRIES: Final = 1_000_000
QUICK_ENTRIES: Final = 20_000
PATIENCE: Final = 900
"""Seconds. A million entries take about one minute."""


def measure_transparency(options: Options) -> Tree:
    """Return the figures. One process that serves nobody is measured, so there are no rounds and no peers."""
    entries = QUICK_ENTRIES if options.quick else ENTRIES
    return options.attempt(f"transparency: {entries:,} entries", lambda: _measure(entries))


def _measure(entries: int) -> Tree:
    command = (sys.executable, "-m", "bench.servers.transparency_log", str(entries))
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)  # noqa: S603 - constants
    figures: dict[str, float] = json.loads(done.stdout)
    return {"entries": figures.pop("entries"), **{name: rounded(value) for name, value in figures.items()}}
