"""What the tests of the supervisor may ask for: a house of stand-in programs, orders for them, and an ear.

No test lives here.
"""

import sys
from pathlib import Path

import pytest

from settings.environment import Address
from supervisor.settings import HouseSettings
from tests.supervisor.fake_houses import FAKES, Ear, Orders


@pytest.fixture
def ear() -> Ear:
    """An ear."""
    return Ear()


@pytest.fixture
def settings(tmp_path: Path) -> HouseSettings:
    """A house of stand-ins on free ports."""
    return HouseSettings(
        data=tmp_path / "data",
        api_bind=Address("127.0.0.1", 0),
        relay_bind=Address("127.0.0.1", 0),
        python=(sys.executable, "-I", "-S", str(FAKES)),
    )


@pytest.fixture
def orders(settings: HouseSettings) -> Orders:
    """The orders for the programs of `settings`."""
    return Orders(settings.data)
