"""How a command runs and ends: Ctrl-C, exit codes, and every expected failure as one sentence and what to do."""

import enum
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import click
import trio

import varde
from varde.errors import StoreInUse, VardeError
from varde_cli.options import Home
from varde_cli.rpc.forward import forward
from varde_cli.streams import EXECUTION
from varde_contract.exception_groups import single_cause, ungrouped
from varde_contract.refusals import RefusalCode

T = TypeVar("T")

_OUR_FAULT = ("The body", "The query")
_RELAY_PATIENCE = 6.0
"""Seconds to be told by the relay, over the ticket of before, that this device was revoked.

It lets the device in, and cuts it a second or two later, when it has not heard of the revocation yet.
"""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Exit(enum.IntEnum):
    """The exit codes of `varde`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    QUEUED = 3
    INTERRUPTED = 130


EXIT_CODES = """
Exit codes: 0 done; 1 refused or failed; 2 used wrongly; 3 queued, and sent later; 130 ended with Ctrl-C.
"""


class Failure(Exception):
    """Something a person can understand: what is wrong, and what to do about it."""

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(what)
        self.advice = advice


def run_command(command: Callable[[], object], environ: Mapping[str, str]) -> int:
    """Run a command and return its exit code; whatever it raises is written to standard error."""
    debug = bool(environ.get("VARDE_DEBUG"))
    try:
        returned = command()
    except BaseException as error:  # noqa: BLE001 - the fence: nothing but an exit code leaves the program
        return _exit_code(single_cause(error), debug=debug)
    return returned if isinstance(returned, int) else Exit.OK


def _exit_code(error: BaseException, *, debug: bool) -> int:
    match error:
        case SystemExit(code=int(code)):
            return code
        case click.exceptions.Exit():
            return error.exit_code
        case KeyboardInterrupt() | click.Abort():
            _say("")
            return Exit.INTERRUPTED
        case BaseExceptionGroup() if error.split(KeyboardInterrupt)[1] is None:
            return Exit.INTERRUPTED
        case BrokenPipeError():
            # The reader of the pipe has closed it. Python would complain once more when it closes standard output.
            sys.stdout = None
            return Exit.FAILED
        case click.UsageError():
            error.show()
            return Exit.USAGE
    if debug:
        traceback.print_exception(error)
    _say(describe(error))
    return Exit.FAILED


def describe(error: BaseException) -> str:
    """Say in words what went wrong, and on a further line what to do."""
    match error:
        case varde.Refusal():
            return _refused(error)
        case VardeError() | Failure():
            return _two_lines(str(error), error.advice)
        case click.ClickException():
            return error.format_message()
        case UnicodeDecodeError() | UnicodeEncodeError():
            return _two_lines(f"the input is no text in {error.encoding}", "convert it, or set LC_ALL=C.UTF-8")
        case OSError(strerror=str(reason)):
            return f"{error.filename}: {reason}" if error.filename else reason
        case _:
            what = f"something unexpected happened ({type(error).__name__})"
            return _two_lines(what, "run the same again with VARDE_DEBUG=1 and report what it shows as a bug")


def _refused(error: varde.Refusal) -> str:
    # The word of the refusal is for programs, and so is what the API says of a body that this program has written.
    said = str(error).partition(": ")[2]
    if error.refusal is RefusalCode.MALFORMED and said.startswith(_OUR_FAULT):
        said, advice = (
            "the server does not take what this program sends",
            "one of the two is too old: install the newest",
        )
        return _two_lines(said, advice)
    return said if error.advice in {"", said} else _two_lines(said, error.advice)


def _two_lines(what: str, advice: str) -> str:
    # A refusal's text already ends with its advice.
    return what if not advice or what.endswith(advice) else f"{what}\n{advice[:1].upper()}{advice[1:]}."


def _say(text: str) -> None:
    first, *rest = text.splitlines() or [""]
    if first:
        click.echo(click.style("varde: ", fg="bright_red", bold=True) + first, err=True)
    for line in rest:
        click.echo(f"       {line}", err=True)


def run_client(work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` to its end and return what it returns.

    SIGINT and SIGTERM cancel it, so that everything is closed in order; then KeyboardInterrupt is raised. A second one
    ends the process where it stands, which the local store is made for.
    """
    with ungrouped():
        return trio.run(_run_until_signal, work)


def run_connected(home: Home, work: Callable[[varde.Client], Awaitable[T]]) -> T:
    """Run `work` with the connected client of a home folder, as `run_client` does.

    Where another program owns the home, that one runs the whole command, and this process shows what it prints.
    """
    if (execution := EXECUTION.get()) is not None:
        execution.silent = False
        return trio.from_thread.run(work, execution.client)

    async def run() -> T:
        async with varde.connect(home.folder, home.unlock) as client:
            if client.keeps_phrase:
                click.echo("Your 24 words are not on paper yet, it seems: `varde signup` shows them again.", err=True)
            async with telling_revocation(client):
                return await work(client)

    try:
        return run_client(run)
    except StoreInUse:
        code = forward(home.folder, click.get_current_context().find_root().obj)
        if code is None:
            raise
        raise SystemExit(code) from None


@asynccontextmanager
async def telling_revocation(client: varde.Client) -> AsyncIterator[None]:
    """Raise DeviceRevoked in place of SignedOut where that is why: the API forgets the session, and the relay says."""
    try:
        with ungrouped():
            yield
    except varde.SignedOut:
        with trio.move_on_after(_RELAY_PATIENCE):
            raise await client.wait_ended() from None
        raise


async def _run_until_signal(work: Callable[[], Awaitable[T]]) -> T:
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:
            # Not the nursery's own scope: the signal must not cancel who listens for the second one.
            working = trio.CancelScope()
            nursery.start_soon(_cancel_on_signal, signals, working)
            with working:
                result = await work()
                nursery.cancel_scope.cancel()
                return result
            nursery.cancel_scope.cancel()
    raise KeyboardInterrupt


async def _cancel_on_signal(signals: AsyncIterator[int], working: trio.CancelScope) -> None:
    async for _ in signals:
        # The second one: closing may wait for a relay that does not answer.
        if working.cancel_called:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        working.cancel()
