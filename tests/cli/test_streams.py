"""What `varde` is started with may be odd: closed streams, other character sets, no home. It says so, and goes on."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from varde_cli import entry
from varde_cli.options import choose_home
from varde_cli.output import program_name

ROOT = Path(__file__).parents[2]


def run(
    *words: str, text: bytes = b"", close: tuple[int, ...] = (), code: str | None = None, **environ: str
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command, or other code, with streams closed as a shell does by `>&-`."""

    def close_streams() -> None:
        for number in close:
            os.close(number)

    program = ("-c", code) if code is not None else ("-m", "varde_cli", *words)
    return subprocess.run(
        (sys.executable, *program),
        input=text,
        capture_output=True,
        check=False,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environ},
        preexec_fn=close_streams,
    )


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    """The store would get the number of standard output, and the next line printed would be written into it."""
    opened = "import os, sys; from varde_cli.streams import prepare_streams as p; p(); print('x'); "
    done = run(code=f"{opened} sys.exit(os.open('/dev/null', 0))", close=(0, 1, 2))
    assert done.returncode > 2


@pytest.mark.parametrize("close", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_a_closed_stream_is_no_surprise(close: tuple[int, ...], tmp_path: Path) -> None:
    """The exit code says what it says otherwise."""
    done = run("whoami", "--home", str(tmp_path / "none"), close=close)
    assert done.returncode == 1
    assert b"unexpected" not in done.stderr


def test_what_cannot_be_shown_is_replaced() -> None:
    """A character that the terminal does not have is a question mark, not the end of the program."""
    code = "from varde_cli.streams import prepare_streams as p; p(); print('blåbær 🙂 ok')"
    done = run(code=code, PYTHONIOENCODING="iso-8859-1")
    assert done.stdout == "blåbær ? ok\n".encode("iso-8859-1")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_input_that_is_no_text_is_refused(tmp_path: Path, encoding: str) -> None:
    """Nothing is sent of it."""
    done = run("send", "bob", "--home", str(tmp_path), text=b"bl\xe5b\xe6r", PYTHONIOENCODING=encoding)
    assert done.returncode == 1
    assert b"the input is no text in" in done.stderr
    assert b"LC_ALL=C.UTF-8" in done.stderr


def test_an_argument_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """The same for what stands on the command line."""
    done = run("send", "bob", os.fsdecode(b"bl\xe5b\xe6r"), "--home", str(tmp_path), LC_ALL="C.UTF-8")
    assert done.returncode == 2
    assert b"is not text" in done.stderr


def test_without_a_home_folder_it_says_what_to_set() -> None:
    """In a container there may be neither HOME nor a name for the user."""
    code = "import os, pwd; pwd.getpwuid = {}.__getitem__; from varde_cli.entry import main; os._exit(main(['whoami']))"
    done = run(code=code)
    assert done.returncode == 2
    assert b"set VARDE_HOME or --home" in done.stderr


def test_what_is_refused_is_refused_for_a_reason(tmp_path: Path) -> None:
    """The folder is named."""
    done = run("whoami", "--home", str(tmp_path / "none"))
    assert str(tmp_path / "none").encode() in done.stderr


def test_letters_of_an_argument_are_known_in_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the locale has none of them they come as bytes, and those are UTF-8."""
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode("ascii", "surrogateescape"))
    assert entry._as_text("blåbær".encode().decode("ascii", "surrogateescape")) == "blåbær"
    assert entry._as_text("plain") == "plain"
    with pytest.raises(click.UsageError):
        entry._as_text("bl\udce5b")


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0o077, 0o077), (0o022, 0o022), (0o777, 0o077), (0o400, 0o077)])
def test_what_is_made_can_be_read_by_its_owner(before: int, after: int) -> None:
    """A mask that takes that away is nobody's intention; any other is left alone."""
    original = os.umask(before)
    try:
        entry._check_umask()
    finally:
        assert os.umask(original) == after


def test_an_empty_home_is_none() -> None:
    """It would be the root of the machine."""
    with pytest.raises(click.UsageError, match="set VARDE_HOME or --home"):
        choose_home({"HOME": ""}, None, ask=False, fresh=False)
    assert choose_home({"HOME": "", "VARDE_HOME": "/srv/bot"}, None, ask=False, fresh=False).folder == Path("/srv/bot")


def test_a_folder_that_is_gone_is_no_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stands in one that was deleted may go on with a home elsewhere."""

    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    assert "varde" in program_name()
