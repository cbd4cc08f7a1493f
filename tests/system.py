"""Programs of the operating system that a test may need. Refuses to skip in silence, and to skip at all in CI."""

import os
import shutil
from pathlib import Path

import pytest


def require(binary: str, package: str) -> Path:
    """Return the path of a program, by name or absolute path, that the Debian package `package` installs.

    Without it the test is skipped and says what to install; under REQUIRE_SYSTEM=1, as in CI, it fails instead.
    """
    found = shutil.which(binary)
    if found is not None:
        return Path(found)
    said = f"{binary} is not installed: apt-get install {package}"
    if os.environ.get("REQUIRE_SYSTEM") == "1":
        pytest.fail(said, pytrace=False)
    pytest.skip(said)
