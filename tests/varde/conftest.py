"""Every test of the SDK begins with accounts that nobody has seen yet."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import SCRATCH
from tests.varde.endpoints import forget_accounts


@pytest.fixture(autouse=True)
def fresh_accounts() -> None:
    """See `tests.varde.endpoints.Account`."""
    forget_accounts()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty folder for stores that wait for no disk: what dies in these tests is a process, not a machine."""
    with tempfile.TemporaryDirectory(prefix="varde-", dir=SCRATCH) as folder:
        yield Path(folder)
