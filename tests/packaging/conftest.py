"""The three wheels, and one environment each for client and server. They are made once for all tests here."""

from pathlib import Path

import pytest

from tests.packaging.environments import PROJECTS, Environment, build_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each wheel by the name of its distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    return {name: build_wheel(name, folder) for name in PROJECTS}


@pytest.fixture(scope="session")
def client(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with `varde` alone."""
    return Environment(tmp_path_factory.mktemp("client"), "client.txt", wheels["varde"])


@pytest.fixture(scope="session")
def server(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with `varde-server`."""
    return Environment(tmp_path_factory.mktemp("server"), "runtime.txt", wheels["varde"], wheels["varde-server"])
