"""What the three distributions hold and require."""

import re
import tomllib
from email.parser import HeaderParser
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest

from tests.house import tree
from tests.packaging.environments import ROOT, read_locked

pytestmark = [pytest.mark.xdist_group("distributions"), pytest.mark.timeout(300)]

CLIENT: Final = {"varde", "varde_contract", "varde_cli"}
LOAD: Final = {"loadtest", "bench"}
PACKAGES: Final = {
    "varde": CLIENT,
    "varde-server": set(tree.ROOMS) - CLIENT - LOAD - {"chaos", "simulation"},
    "varde-load": LOAD,
}


def names(wheel: Path) -> list[str]:
    """Every file of a wheel."""
    with ZipFile(wheel) as archive:
        return archive.namelist()


def read(wheel: Path, file: str) -> str:
    """One file of its metadata."""
    with ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(f".dist-info/{file}"))
        return archive.read(name).decode()


@pytest.mark.parametrize("distribution", PACKAGES)
def test_a_wheel_holds_its_rooms_and_nothing_else(wheels: dict[str, Path], distribution: str) -> None:
    """Each room is in exactly one wheel; the client's puts no generic name into site-packages."""
    top = {name.split("/")[0] for name in names(wheels[distribution])}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES[distribution]


@pytest.mark.parametrize("distribution", PACKAGES)
def test_a_wheel_holds_every_file_of_its_rooms(wheels: dict[str, Path], distribution: str) -> None:
    """Migrations, templates and markers of types are there beside the code, and nothing that the repository has not."""
    tracked = {path.relative_to(ROOT).as_posix() for path in tree.tracked()}
    wanted = {name for name in tracked if name.split("/")[0] in PACKAGES[distribution]}
    assert {name for name in names(wheels[distribution]) if ".dist-info/" not in name} == wanted


def test_types_are_part_of_the_client(wheels: dict[str, Path]) -> None:
    """Each package of the client says that its annotations may be relied on (PEP 561)."""
    assert {f"{package}/py.typed" for package in CLIENT} <= set(names(wheels["varde"]))


@pytest.mark.parametrize(
    ("distribution", "extends"), [("varde", None), ("varde-server", "varde"), ("varde-load", "varde-server")]
)
def test_all_have_one_version(wheels: dict[str, Path], distribution: str, extends: str | None) -> None:
    """The version is in one file, and each distribution requires the one it extends in exactly that version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    metadata = HeaderParser().parsestr(read(wheels[distribution], "METADATA"))
    assert metadata["Version"] == version
    required = metadata.get_all("Requires-Dist") or []
    assert [each for each in required if each.startswith("varde")] == ([f"{extends}=={version}"] if extends else [])


def test_each_carries_the_licence(wheels: dict[str, Path]) -> None:
    """Whoever receives a wheel receives its terms."""
    for wheel in wheels.values():
        assert "Apache License" in read(wheel, "licenses/LICENSE")


def test_the_load_suite_is_a_console_command() -> None:
    """`varde-load` is `python -m loadtest`."""
    (command,) = entry_points(group="console_scripts", name="varde-load")
    assert callable(command.load())


def test_the_client_is_locked_as_the_server_is() -> None:
    """Each package with the hashes that `make` installs it by, so that what works here is what a client gets."""
    client, runtime = (
        set(re.findall(r"^\S+==.*\n(?:    --hash.*\n)+", read_locked(name), re.MULTILINE))
        for name in ("client.txt", "runtime.txt")
    )
    assert client
    assert client < runtime
