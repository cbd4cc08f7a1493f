"""What a worker is told from outside."""

import pytest

from settings.environment import ConfigError
from settings.worker import WorkerSettings


def test_the_lease_is_read() -> None:
    """In whole seconds; without a word, thirty."""
    assert WorkerSettings.from_environ({}) == WorkerSettings()
    assert WorkerSettings.from_environ({"VARDE_WORKER_LEASE_SECONDS": "3"}).lease == 3.0


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "long"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """By the variable's name."""
    with pytest.raises(ConfigError, match="VARDE_WORKER_LEASE_SECONDS"):
        WorkerSettings.from_environ({"VARDE_WORKER_LEASE_SECONDS": text})
