"""On what a run was made: processor, kernel, versions, date and commit."""

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.hosting import ROOT

PACKAGES: Final = (
    *("cryptography", "msgspec", "picows", "starlette", "trio", "trio-websocket", "uvicorn", "uvloop", "websockets"),
)


class Machine(Struct, frozen=True):
    """Everything a reader needs to compare. `commit` ends with `+` when the tree was not as committed."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    node: str | None
    packages: dict[str, str]
    date: str
    commit: str | None


def describe_machine() -> Machine:
    """Look around."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {sys.version.split()[0]}",
        node=_said_by("node", "--version"),
        packages={name: found for name in PACKAGES if (found := _version(name)) is not None},
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    commit = _said_by("git", "rev-parse", "--short=12", "HEAD")
    return commit and commit + "+" * bool(_said_by("git", "status", "--porcelain", "--untracked-files=no"))


def _said_by(program: str, *arguments: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        return None
    done = subprocess.run((path, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - constants
    return done.stdout.strip() if done.returncode == 0 else None
