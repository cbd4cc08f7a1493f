"""Fixtures: the settings of a system of fake programs, their control, a recorder of what the supervisor reports."""

import sys
from pathlib import Path

import pytest

from settings.environment import Address
from supervisor.settings import SystemSettings
from tests.supervisor.fake_system import FAKES, EventRecorder, FakeControl


@pytest.fixture
def recorder() -> EventRecorder:
    """A recorder."""
    return EventRecorder()


@pytest.fixture
def settings(tmp_path: Path) -> SystemSettings:
    """A system of fake programs on free ports."""
    return SystemSettings(
        data=tmp_path / "data",
        api_bind=Address("127.0.0.1", 0),
        relay_bind=Address("127.0.0.1", 0),
        python=(sys.executable, "-I", "-S", str(FAKES)),
    )


@pytest.fixture
def control(settings: SystemSettings) -> FakeControl:
    """The control of the fake programs of `settings`."""
    return FakeControl(settings.data)
