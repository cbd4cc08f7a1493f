"""Wheels of this checkout, and environments with nothing in them but a wheel and what it requires."""

import os
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.system import do_without

ROOT: Final = Path(__file__).parents[2]
PROJECTS: Final = {"varde": ROOT, "varde-server": ROOT / "packages/server", "varde-load": ROOT / "packages/load"}
PATIENCE: Final = 100
"""Seconds for one program; a registry of packages may take its time."""


def build_wheel(name: str, folder: Path) -> Path:
    """Build one of PROJECTS into a folder of its own; nothing is asked of the network."""
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / name))
    subprocess.run(command, cwd=PROJECTS[name], check=True, capture_output=True, timeout=PATIENCE)
    (wheel,) = (folder / name).iterdir()
    return wheel


class Environment:
    """A virtual environment. Its programs see nothing of the checkout, and nothing of the environment of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, symlinks=True)  # pip works from outside: it needs half as long as to install pip first

    def install_locked(self, name: str) -> None:
        """Install one of the locked files.

        Without an index within reach the test is skipped, or fails where nothing may be missing.
        """
        try:
            self._pip("install", "--require-hashes", "-r", str(ROOT / "requirements" / name))
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
            do_without(f"pip could not install {name} ({failure}): it needs a package index within reach")

    def install(self, *words: str) -> None:
        """Install wheels or projects, without their requirements and without an index."""
        self._pip("install", "--no-index", "--no-build-isolation", *words)

    def add_packages(self, folder: str) -> None:
        """Let it import what is in this folder as well."""
        (site_packages,) = self.folder.glob("lib/python*/site-packages")
        (site_packages / "more.pth").write_text(folder, encoding="utf-8")

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(self.folder / "bin" / name)

    def environ(self, home: Path) -> dict[str, str]:
        """Return the variables that its programs get."""
        return {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, program: str, *words: str, home: Path, code: int = 0) -> str:
        """Run one of its programs in a folder away from the checkout and return what it said.

        What it says on standard error is returned where it shall fail.
        """
        done = subprocess.run(
            (self.program(program), *words),
            cwd=home,
            env=self.environ(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == code, f"{program} {words} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stderr if code else done.stdout

    @contextmanager
    def start(self, program: str, *words: str, home: Path) -> Iterator[subprocess.Popen[str]]:
        """Start one of its programs as `run` does, with its standard output to read; Ctrl-C when the block ends."""
        with subprocess.Popen(
            (self.program(program), *words),
            cwd=home,
            env=self.environ(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                said, _ = process.communicate(timeout=PATIENCE)
                sys.stdout.write(said)  # pytest shows it beside a failure

    def check(self) -> None:
        """Let pip say whether all that is required is there."""
        self._pip("check")

    def _pip(self, command: str, *words: str) -> None:
        quick = ("--quiet", "--no-deps", "--no-compile") if command == "install" else ()
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.program("python"))
        subprocess.run((*pip, command, *quick, *words), check=True, capture_output=True, text=True, timeout=PATIENCE)
