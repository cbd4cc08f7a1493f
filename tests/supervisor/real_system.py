"""The real system for tests: `varde up` on free ports, and `varde` commands against it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import varde
from tests.cli.forked_command import run_forked

ANY_PORTS = "127.0.0.1:0", "127.0.0.1:0"
TIMEOUT = 60
"""Seconds for one command; each takes about one."""


class RealSystem:
    """`varde up` as a process. The ready file is kept current by the supervisor."""

    def __init__(self, data: Path, binds: tuple[str, str] = ANY_PORTS, *more: str) -> None:
        self.data = data
        self._ready_file = data.with_name(f"{data.name}.json")
        self.lines: list[str] = []
        self._grown = threading.Condition()
        api, relay = binds
        words = ("--data", str(data), "--ready-file", str(self._ready_file), "--api-bind", api, "--relay-bind", relay)
        self.process = subprocess.Popen(
            (sys.executable, "-m", "varde_cli", "up", *words, *more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ(),
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def ready(self) -> dict[str, Any]:
        """Addresses, process numbers and how often each has started."""
        found: dict[str, Any] = json.loads(self._ready_file.read_text())
        return found

    def wait_line(self, part: str, count: int = 1) -> None:
        """Wait until so many lines hold this."""
        with self._grown:
            came = self._grown.wait_for(lambda: sum(part in line for line in self.lines) >= count, TIMEOUT)
        assert came, "\n".join(self.lines)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def environ(self) -> dict[str, str]:
        """What a command needs to find it."""
        return environ(VARDE_DATA=str(self.data), VARDE_API_URL=self.ready["api"])

    def run(self, *words: str, text: str | None = None, code: int = 0, **environ: str) -> str:
        """Run a command to its end and return what it printed: its errors, where it is to fail."""
        done = run_forked(words, self.environ() | environ, text or "", TIMEOUT)
        assert done.returncode == code, f"{words} ended with {done.returncode}: {done.stderr}"
        return done.stderr if code else done.stdout

    def code_for(self, email: str) -> str:
        """The newest one-time code for somebody in the development mail folder."""
        letters = [path.read_text() for path in sorted((self.data / "outbox").glob("*.eml"))]
        (code,) = re.findall(r"^\s+(\d{6,10})$", next(text for text in letters[::-1] if email in text), re.MULTILINE)
        return str(code)

    def sign_up(self, home: Path, email: str) -> varde.Enrolled:
        """Sign somebody up through the SDK, which is quicker than two commands."""
        return trio.run(self._sign_up, home, email)

    async def _sign_up(self, home: Path, email: str) -> varde.Enrolled:
        api_url = self.ready["api"]
        await varde.request_code(api_url, email)
        code = self.code_for(email)
        return await varde.sign_up(home, varde.KeyFile(home / "key"), api_url=api_url, email=email, code=code)

    def befriend(self, one: Path, other: Path, address: varde.ProfileId) -> None:
        """Open the conversation of two people, and let the other accept: three numbers of its log."""
        trio.run(self._befriend, one, other, address)

    async def _befriend(self, one: Path, other: Path, address: varde.ProfileId) -> None:
        async with varde.connect(one, varde.KeyFile(one / "key")) as client:
            conversation = (await client.open_dm(address)).id
        async with varde.connect(other, varde.KeyFile(other / "key")) as client:
            await client.conversation(conversation).accept()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._grown:
                self.lines.append(line)
                self._grown.notify_all()


def environ(**more: str) -> dict[str, str]:
    """The environment of the tests without anybody's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VARDE_")} | more


@contextmanager
def open_real_system(data: Path, binds: tuple[str, str] = ANY_PORTS, *more: str) -> Iterator[RealSystem]:
    """Run `varde up`, with `more` options, while the block runs; then Ctrl-C, which must end it cleanly."""
    system = RealSystem(data, binds, *more)
    try:
        system.wait_line("Varde is up")
        yield system
    except BaseException as failure:
        failure.add_note("".join(system.lines))
        raise
    finally:
        code = system.end()
    assert code == 0, "\n".join(system.lines)


@pytest.fixture(scope="session")
def real_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSystem]:
    """One system for every test of the group `real-system` that leaves it running: each has people of its own."""
    with open_real_system(tmp_path_factory.mktemp("system") / "data") as system:
        yield system
