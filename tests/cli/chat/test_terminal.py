"""The full-screen chat as a process on a terminal: job control, signals, and a terminal that goes away."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.pseudo_terminal import Terminal, open_shell

ROOT = Path(__file__).parents[3]
ONLINE, LEFT = "online", "\x1b[?1049l"


@contextmanager
def open_chat(told: Path) -> Iterator[Terminal]:
    """A chat that a shell has started, which says what is sent in a file."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    with open_shell(environ) as shell:
        shell.read_until("shell$ ")
        shell.type(f"{sys.executable} -m tests.cli.chat.in_memory 2>{told}\n")
        shell.read_until(ONLINE)
        yield shell


def test_suspended_it_gives_the_terminal_back_and_takes_nothing_from_it(tmp_path: Path) -> None:
    """Ctrl-Z, commands, `fg`: the shell gets the commands, nobody else; then the screen is whole again."""
    told = tmp_path / "told"
    with open_chat(told) as shell:
        shell.type("half a line")
        shell.read_until("line")
        shell.type("\x1a")
        shell.read_until("shell$ ")
        shell.type("echo secret-$((40 + 2))\n")
        shell.read_until("secret-42")
        shell.type("fg\nnot for others\n")
        whole = shell.read_until(ONLINE)
        assert "said before" in whole
        shell.type(" more\r")
        shell.read_until("✓")
        shell.type("\x03")
        assert ended(shell) == 130
    assert told.read_text().split("\n", 1)[1] == "sent 'half a line more'\n"


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT"])
def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(tmp_path: Path, name: str) -> None:
    """The screen is left, lines are echoed again, and there is no traceback."""
    told = tmp_path / "told"
    with open_chat(told) as shell:
        os.kill(int(told.read_text()), getattr(signal, f"SIG{name}"))
        shell.read_until(LEFT)
        assert ended(shell) == 130
        shell.type("stty -a | tr -s ' ;' '\\n' | grep -n icanon\n")
        assert "-icanon" not in shell.read_until(":icanon")
    assert "Traceback" not in told.read_text()


def ended(shell: Terminal) -> int:
    """The exit code, as the shell tells it."""
    shell.read_until("shell$ ")
    shell.type("echo code-$?-\n")
    shell.read_until("code-$?-")
    shell.read_until("code-")
    return int(shell.read_until("-").removesuffix("-"))
