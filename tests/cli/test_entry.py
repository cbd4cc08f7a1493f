"""The command line as such: help for everything, exit codes, errors in words.

Nothing here needs a server.
"""

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

import click
import pytest

import varde
from settings.environment import ConfigError
from supervisor import commands
from supervisor.data_lock import FolderInUse
from supervisor.settings import API_BIND, DATA
from varde_cli import account
from varde_cli.entry import FAMILIES, GROUP, SERVER, SERVER_COMMANDS, main
from varde_cli.entry import varde as program
from varde_cli.output import program_name
from varde_cli.run import Exit, Failure, describe, run_command
from varde_contract.refusals import RefusalCode


def tree(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that lead to it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            part = command.get_command(context, name)
            assert part is not None
            yield from tree(part, (*words, name))


COMMANDS = dict(tree(program))
PASSED_ON = {("migrate",), ("api",), ("worker",), ("node",), ("fleet",)}
"""Their --help is the program's own."""


@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in PASSED_ON], ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks is told what it does, in words of its own and with options explained."""
    assert main([*words, "--help"]) == Exit.OK
    shown = capsys.readouterr().out
    assert "Usage:" in shown
    assert "\x08" not in shown
    command = COMMANDS[words]
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{option.name} is not explained"


@pytest.mark.parametrize("words", [words for words in COMMANDS if len(words) == 1 and words not in PASSED_ON])
def test_every_family_of_commands_shows_an_example_that_works(words: tuple[str, ...]) -> None:
    """Help has examples to copy, one on each line, and each of them names commands and options that exist."""
    command = COMMANDS[words]
    if words in {("whoami",), ("logout",)}:
        return  # there is nothing to choose
    examples = [line.strip() for line in str(command.help).splitlines() if line.startswith("  ")]
    assert examples
    for example in examples:
        mine = example.split("varde ", 1)[1].split(" | ")[0].split(" > ")[0].split()
        found = max((known for known in COMMANDS if tuple(mine[: len(known)]) == known), key=len)
        assert found, example
        options = {name for option in COMMANDS[found].params for name in option.opts}
        assert {word for word in mine if word.startswith("--")} <= options, example


def test_the_help_lists_every_command_in_its_family(capsys: pytest.CaptureFixture[str]) -> None:
    """The first page shows what there is, in the order one meets it, and the exit codes."""
    assert main(["--help"]) == Exit.OK
    shown = capsys.readouterr().out
    for title in (SERVER, *FAMILIES):
        assert f"\n{title}:\n" in shown
    for name in program.list_commands(click.Context(program)):
        assert f"\n  {name} " in shown
    assert "Exit codes: 0 done; 1 refused or failed; 2 used wrongly; 3 queued" in shown


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    """`varde --version` says what pyproject.toml says, and client and server are of one version."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert main(["--version"]) == Exit.OK
    assert capsys.readouterr().out.split() == ["varde", project["version"]]
    assert version("varde-server") == project["version"]


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs these commands, each given as name and object reference, in place of those that are."""

    def install(**commands: str) -> None:
        found = [EntryPoint(name, value, GROUP) for name, value in commands.items()]
        monkeypatch.setattr("varde_cli.entry.entry_points", lambda **_: found)

    return install


@pytest.mark.parametrize("words", [["up"], ["up", "--quiet"], ["relay", "--help"], ["worker"]], ids=" ".join)
def test_without_the_server_its_commands_say_how_to_install_it(
    words: list[str], plug_in: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has only the client is told where a command comes from, however it was called, and in the help."""
    plug_in()
    assert main(words) == Exit.FAILED
    first, second = capsys.readouterr().err.splitlines()
    assert first == "varde: this comes with the server, which is not installed here"
    assert second.strip() == "`pip install varde-server` adds it."
    assert main(["--help"]) == Exit.OK
    assert "pip install varde-server" in capsys.readouterr().out


def test_a_plug_in_adds_a_command(plug_in: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    """Any distribution can add commands; the help keeps them apart from those of the server."""
    plug_in(zebra="supervisor.commands:relay", up="supervisor.commands:up")
    assert main(["zebra", "--help"]) == Exit.OK
    assert "Relay processes" in capsys.readouterr().out
    assert main(["--help"]) == Exit.OK
    assert "From other distributions:\n  zebra " in capsys.readouterr().out


@pytest.mark.parametrize("reference", ["no_such_module:up", "supervisor.commands:no_such_command", "json:dumps"])
def test_a_broken_plug_in_breaks_nothing_else(
    reference: str, plug_in: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Its own command says what is wrong with it; help and the client's commands work."""
    plug_in(up=reference)
    assert main(["up", "--quiet"]) == Exit.FAILED
    assert "'up' cannot be loaded" in capsys.readouterr().err
    assert main(["--help"]) == Exit.OK
    assert "'up' cannot be loaded" in capsys.readouterr().out
    assert main(["whoami", "--home", str(tmp_path / "none")]) == Exit.FAILED
    assert "there is no store" in capsys.readouterr().err


def test_the_client_knows_the_commands_of_the_server() -> None:
    """All that `varde-server` adds can be told from a word that was mistyped."""
    assert {each.name for each in entry_points(group=GROUP)} <= set(SERVER_COMMANDS)


def test_the_client_knows_the_defaults_of_up() -> None:
    """The SDK's command line has its own copy: it cannot import the server."""
    assert f"http://{API_BIND}" == account.DEFAULT_API_URL
    assert account.SERVER_DATA == DATA


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FolderInUse("in use"), "in use"),
        (ConfigError("VARDE_POOL_MAX is too small"), "VARDE_POOL_MAX is too small"),
    ],
)
def test_failures_of_the_supervisor_are_told_in_words(error: Exception, text: str) -> None:
    """What the supervisor raises is what a person reads, without a traceback."""
    with pytest.raises(Failure, match=f"^{text}$"), commands.failures_in_words():
        raise error


def test_commands_to_copy_start_this_very_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed to be copied works from the folder one stands in, whether or not `varde` is installed."""
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert program_name() == "bin/python -m varde_cli"
    script = tmp_path / "bin" / "varde"
    script.touch(mode=0o700)
    assert program_name() == "bin/varde"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert program_name() == "varde"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir("/")
    assert program_name() == str(script.relative_to("/"))


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["up", "--nonsense"],
        ["up", "--relay-workers", "0"],
        ["up", "--ready-file", "nowhere/up.json"],
        ["relay", "--workers", "257"],
        ["relay", "--workers", "two"],
        ["send"],
        ["devices", "revoke"],
        ["group", "create"],
        ["listen", "--count", "0"],
        ["contacts", "add", "bob"],
        ["signup", "--email", "a@b", "--profile", "WEEKEND"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_2_and_says_how_to_ask(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 is for the one who typed, and the answer names the help."""
    assert main(words) == Exit.USAGE
    shown = capsys.readouterr().err
    assert "Usage:" in shown
    assert "--help" in shown


def test_a_home_without_a_device_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal is two lines: what is the matter, and what to do."""
    assert main(["whoami", "--home", str(tmp_path / "none")]) == Exit.FAILED
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("varde: there is no store in the home folder ")
    assert second.strip() == "Sign up, or log in with the recovery phrase."


def test_a_bad_address_for_up_is_told_without_starting_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`varde up` checks what it is told before it makes a folder."""
    data = tmp_path / "data"
    assert main(["up", "--data", str(data), "--api-bind", "8400"]) == Exit.FAILED
    assert "write host:port" in capsys.readouterr().err
    assert not data.exists()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (varde.StoreInUse("another process holds it"), "another process holds it\nClose the other program"),
        (varde.Refusal.of(RefusalCode.NOT_FOUND, "There is no such thing."), "There is no such thing."),
        (
            varde.Refusal.of(RefusalCode.MALFORMED, "The body is not a Thing: look at body.x."),
            "the server does not take what this program sends\nOne of the two is too old",
        ),
        (Failure("no", "ask differently"), "no\nAsk differently."),
        (Failure("no"), "no"),
        (FileNotFoundError(2, "No such file or directory", "/nowhere"), "/nowhere: No such file or directory"),
        (
            ZeroDivisionError("x"),
            "something unexpected happened (ZeroDivisionError)\nRun the same again with VARDE_DEB",
        ),
    ],
)
def test_every_failure_is_told_in_words(error: BaseException, text: str) -> None:
    """What went wrong and what to do; of a surprise, only its name."""
    assert describe(error).startswith(text)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), Exit.INTERRUPTED),
        (ExceptionGroup("", [Failure("no")]), Exit.FAILED),
        (BrokenPipeError(), Exit.FAILED),
        (SystemExit(7), 7),
        (click.Abort(), Exit.INTERRUPTED),
    ],
)
def test_every_end_has_its_exit_code(error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """0, 1, 2 or 130, and nothing leaves as a traceback."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # a broken pipe takes it away

    def fail() -> None:
        raise error

    assert run_command(fail, {}) == code


def test_a_traceback_is_shown_only_to_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    """VARDE_DEBUG is for bug reports; without it nobody sees a traceback."""

    def fail() -> None:
        raise ZeroDivisionError

    run_command(fail, {})
    assert "Traceback" not in capsys.readouterr().err
    run_command(fail, {"VARDE_DEBUG": "1"})
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_while_waiting_ends_with_130(tmp_path: Path) -> None:
    """A client command that waits is ended by one Ctrl-C, at once and without words."""
    program = (
        "import os, signal, sys, trio\n"
        "from varde_cli.run import run_command\n"
        "from varde_cli.run import run_client\n"
        "async def wait():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    await trio.sleep_forever()\n"
        "sys.exit(run_command(lambda: run_client(wait), {}))\n"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (Exit.INTERRUPTED, "", "")


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    """Whatever the closing takes: the second Ctrl-C ends the process itself."""
    program = (
        "import os, signal, sys, trio\n"
        "from varde_cli.run import run_command\n"
        "from varde_cli.run import run_client\n"
        "async def wait():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    try:\n"
        "        await trio.sleep_forever()\n"
        "    finally:\n"
        "        with trio.CancelScope(shield=True):\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "            await trio.sleep_forever()\n"
        "sys.exit(run_command(lambda: run_client(wait), {}))\n"
    )
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGINT


@pytest.mark.parametrize("command", ["up", "demo", "migrate", "relay", "api", "worker"])
def test_the_help_of_a_server_command_names_the_command(command: str, tmp_path: Path) -> None:
    """Also of those that become another program: they pass everything on to it, and end as it ends."""
    done = subprocess.run(
        (sys.executable, "-m", "varde_cli", command, "--help"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"VARDE_DATA": str(tmp_path)},
    )
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {program_name()} {command} ")
