"""Programs and packages from outside that a test may need."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, NoReturn

import pytest


def _scratch() -> str:
    # In a container it may hold 64 MiB, which one cluster fills, and run no program, as our environments must.
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or os.statvfs(memory).f_flag & os.ST_NOEXEC:
        return "/tmp"
    return str(memory) if shutil.disk_usage(memory).free > 4 << 30 else "/tmp"


SCRATCH: Final = _scratch()
"""Where to make folders that nobody needs after a power cut: in memory, no fsync waits for a disk that others use.
The path is short enough for a socket in it, wherever pytest keeps its own."""
MODULES: Final = Path(__file__).parents[1] / "build" / "node"
PATIENCE_SECONDS: Final = 100
"""For a registry of packages to answer."""


def require(binary: str, package: str) -> Path:
    """Return the path of a program, by name or absolute path, that the Debian package `package` installs.

    Without it the test is skipped and says what to install; under REQUIRE_SYSTEM=1, as in CI, it fails instead.
    """
    found = shutil.which(binary)
    if found is None:
        do_without(f"{binary} is not installed: apt-get install {package}")
    return Path(found)


def require_modules(folder: Path) -> Path:
    """Return the `node_modules` of the `package-lock.json` in a folder, installed by npm the first time it is asked.

    Without npm, or a registry that it reaches, the test is skipped or fails as above.
    """
    npm = require("npm", "nodejs")
    wanted = [folder / name for name in ("package.json", "package-lock.json")]
    place = MODULES / hashlib.sha256(b"".join(path.read_bytes() for path in wanted)).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not (place / "installed").exists():
            _install(npm, wanted, place)
            (place / "installed").touch()
    return place / "node_modules"


def _install(npm: Path, wanted: list[Path], place: Path) -> None:
    for path in wanted:
        shutil.copy(path, place)
    command = (str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    try:
        subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
        do_without(f"`npm ci` failed ({failure}): it needs a package registry within reach")


def do_without(said: str) -> NoReturn:
    """Skip the test for want of something outside; under REQUIRE_SYSTEM=1, fail."""
    if os.environ.get("REQUIRE_SYSTEM") == "1":
        pytest.fail(said, pytrace=False)
    pytest.skip(said)
