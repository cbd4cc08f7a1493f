"""The programs tell how they are used: each answers `--help` without touching a folder or a database."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import tree


def read_by(program: str) -> set[str]:
    """The variables that the settings of a program read."""
    text = (tree.ROOT / "settings" / f"{program}.py").read_text(encoding="utf-8")
    return set(re.findall(r"\bVARDE_[A-Z_]*[A-Z]\b", text))


@pytest.mark.parametrize("room", ["api", "relay", "worker"])
def test_a_server_explains_its_environment(room: str, tmp_path: Path) -> None:
    """`--help` names every variable that the server and its storage read, and leaves nothing behind."""
    program = (sys.executable, "-m", room, "--help")
    environment = {**os.environ, "PYTHONPATH": str(tree.ROOT)}
    said = subprocess.run(program, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    known = read_by(room) | read_by("storage") | read_by("observability")
    tree.expect_none((name for name in known if name not in said), f"not explained by {room}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("storage",), ("storage", "postgres"), ("storage", "migrate"), ("varde_cli",)])
def test_the_other_programs_help(command: tuple[str, ...]) -> None:
    """`--help` ends well and says how the program is called."""
    program = (sys.executable, "-m", *command, "--help")
    said = subprocess.run(program, cwd=tree.ROOT, check=True, capture_output=True, text=True).stdout
    assert said.startswith("Usage:")
