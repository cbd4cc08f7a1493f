"""A checkout lies where people put it: in a folder with spaces, quotes, and letters of their language."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import tree

ODD = 'it\'s "mine" $(date) `x` & blåbær'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this one there, with what `make up` makes in it but for the packages: those are this environment's."""
    copy = tmp_path / ODD
    for path in ("Makefile", "pyproject.toml", "requirements/runtime.txt", "packages/server/pyproject.toml"):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tree.ROOT / path, copy / path)
    make = ("make", ".venv/.runtime", f"PYTHON={sys.executable}", "PIP=true")
    subprocess.run(make, cwd=copy, check=True, capture_output=True)
    (site,) = (copy / ".venv" / "lib").glob("python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "ours.pth").write_text("\n".join([str(tree.ROOT), *ours]))
    return copy


def test_the_program_runs_there(checkout: Path, tmp_path: Path) -> None:
    """Called by its path, through a link from elsewhere, and by its name, as by the module."""
    program = checkout / ".venv" / "bin" / "varde"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "varde").symlink_to(program)
    environ = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environ.pop("PYTHONPATH", None)
    python = str(program.with_name("python"))
    calls = (
        [str(program)],
        [".venv/bin/varde"],
        [str(tmp_path / "bin" / "varde")],
        ["varde"],
        [python, "-m", "varde_cli"],
    )
    said = {
        subprocess.run(
            (*call, "--version"), cwd=checkout, env=environ, check=True, capture_output=True, text=True
        ).stdout
        for call in calls
    }
    assert len(said) == 1
    assert said.pop().startswith("varde ")
    # What it tells people to type goes through a shell.
    code = "from varde_cli.output import program_name; print(program_name())"
    told = subprocess.run((python, "-c", code), cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    shell = ("sh", "-c", f"{told} --version")
    assert subprocess.run(shell, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.startswith("varde ")
