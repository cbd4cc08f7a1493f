"""What a run was made on: processor, kernel, versions, date and commit."""

import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from loadtest.watch.fingerprint import fingerprint

PACKAGES: Final = (
    *("cryptography", "msgspec", "picows", "starlette", "trio", "trio-websocket", "uvicorn", "uvloop", "websockets"),
)
_SHARED: Final = ("cpu", "cores", "memory_gib", "kernel", "python")


def describe_machine() -> dict[str, Any]:
    """Return everything that a reader needs to compare. `commit` ends with `+` when the tree was not as committed."""
    found = fingerprint()
    return {
        **{key: found[key] for key in _SHARED},
        "node": _node_version(),
        "packages": {name: said for name in PACKAGES if (said := _version(name)) is not None},
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": found["commit"],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _node_version() -> str | None:
    path = shutil.which("node")
    if path is None:
        return None
    done = subprocess.run((path, "--version"), capture_output=True, text=True, timeout=30, check=False)  # noqa: S603 - constant
    return done.stdout.strip() if done.returncode == 0 else None
