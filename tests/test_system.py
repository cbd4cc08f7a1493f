"""`require`: a program that is not there skips a test on a desk and fails it in CI."""

import sys
from pathlib import Path

import pytest

from tests.system import require, require_modules

ABSENT = "/nonexistent/varde-beacon"


def test_a_program_that_is_there_is_returned() -> None:
    """A name is looked up on the PATH, and an absolute path is taken as it is."""
    assert require("sh", "dash").name == "sh"
    assert require(sys.executable, "python3") == Path(sys.executable)


def test_a_missing_program_skips_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a desk, the reason of the skip says what to install."""
    monkeypatch.delenv("REQUIRE_SYSTEM", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install beacon"):
        require(ABSENT, "beacon")


def test_a_missing_program_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under REQUIRE_SYSTEM=1 nothing is skipped, so CI cannot be green without having looked."""
    monkeypatch.setenv("REQUIRE_SYSTEM", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install beacon"):
        require(ABSENT, "beacon")


def test_modules_that_cannot_be_had_are_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What npm cannot install skips like a program that is not there, and is not taken for installed the next time."""
    monkeypatch.delenv("REQUIRE_SYSTEM", raising=False)
    monkeypatch.setattr("tests.system.MODULES", tmp_path / "modules")
    require("npm", "nodejs")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text("this is no package")
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match="npm ci"):
            require_modules(tmp_path)


@pytest.mark.xdist_group("groups")
def test_a_group_is_in_the_name_of_a_test(request: pytest.FixtureRequest) -> None:
    """By it xdist sends the tests of one group to one process, so that they share what they start."""
    grouped = getattr(request.config.option, "loadgroup", False)
    assert request.node.nodeid.endswith("@groups") == grouped
