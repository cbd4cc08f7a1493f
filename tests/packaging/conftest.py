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
    environment = Environment(tmp_path_factory.mktemp("client"))
    environment.link_locked("client.txt")
    environment.install(str(wheels["varde"]))
    return environment


@pytest.fixture(scope="session")
def server(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with `varde-server`."""
    environment = Environment(tmp_path_factory.mktemp("server"))
    environment.link_locked("runtime.txt")
    environment.install(str(wheels["varde"]), str(wheels["varde-server"]))
    return environment
