"""What a worker is told from outside."""

from pathlib import Path

import pytest

from settings.environment import ConfigError
from settings.worker import WorkerSettings


def test_the_lease_is_read() -> None:
    """In whole seconds; without a word, thirty."""
    assert WorkerSettings.from_environ({}) == WorkerSettings()
    assert WorkerSettings.from_environ({"VARDE_WORKER_LEASE_SECONDS": "3"}).lease == 3.0


def test_the_log_is_read() -> None:
    """Its folder, name and policy, and where metrics are; an empty word is none."""
    told = {"VARDE_LOG_ORIGIN": "chat.example/log", "VARDE_LOG_POLICY": "p", "VARDE_DATA": "d"}
    found = WorkerSettings.from_environ(told | {"VARDE_WORKER_METRICS_BIND": "127.0.0.1:9402"})
    assert (found.log_origin, found.log_policy, found.data) == ("chat.example/log", Path("p"), Path("d"))
    assert found.metrics_bind == ("127.0.0.1", 9402)
    empty = dict.fromkeys(("VARDE_LOG_ORIGIN", "VARDE_LOG_POLICY", "VARDE_WORKER_METRICS_BIND"), "")
    assert WorkerSettings.from_environ(empty) == WorkerSettings()


@pytest.mark.parametrize("name", ["two words", "a+b", "x" * 256, "tab\t"])
def test_what_is_no_name_of_a_log_is_refused(name: str) -> None:
    """It would stand in every signature."""
    with pytest.raises(ConfigError, match="VARDE_LOG_ORIGIN"):
        WorkerSettings.from_environ({"VARDE_LOG_ORIGIN": name})


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "long"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """By the variable's name."""
    with pytest.raises(ConfigError, match="VARDE_WORKER_LEASE_SECONDS"):
        WorkerSettings.from_environ({"VARDE_WORKER_LEASE_SECONDS": text})
