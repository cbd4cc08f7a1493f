"""Wheels of this checkout, and environments with nothing in them but a wheel and what it requires."""

import os
import re
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PROJECTS: Final = {"varde": ROOT, "varde-server": ROOT / "packages/server", "varde-load": ROOT / "packages/load"}
PATIENCE: Final = 100
"""Seconds for one program."""


def read_locked(name: str) -> str:
    """Return one of the locked files."""
    return (ROOT / "requirements" / name).read_text(encoding="utf-8")


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
        (self.site_packages,) = folder.glob("lib/python*/site-packages")

    def link_locked(self, name: str) -> None:
        """Let it have what one of the locked files names, as `make` has installed it here with --require-hashes.

        Links are enough to see who imports what, and ask no index. To install the same once more took pip half a
        minute, and each program longer to start, because nothing was compiled.
        """
        for wanted, version in re.findall(r"^([\w.-]+)==(\S+)", read_locked(name), re.MULTILINE):
            found = distribution(wanted)
            assert found.version == version, f"{wanted} is {found.version} here, not {version}: `make .venv/.dev`"
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                (self.site_packages / top).symlink_to(str(found.locate_file(top)))

    def install(self, *words: str) -> None:
        """Install wheels or projects, without their requirements and without an index."""
        self._pip("install", "--no-index", "--no-build-isolation", *words)

    def add_packages(self, folder: str) -> None:
        """Let it import what is in this folder as well."""
        (self.site_packages / "more.pth").write_text(folder, encoding="utf-8")

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(self.folder / "bin" / name)

    def environ(self, home: Path) -> dict[str, str]:
        """Return the variables that its programs get."""
        return {"PATH": os.defpath, "HOME": str(home), "LANG": "C.UTF-8"}

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
