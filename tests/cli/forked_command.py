"""A `varde` command as a process of its own, forked from one that has imported the command line already.

To import it costs ten times as much as most commands do. All else is as with `python -m varde_cli`: a process with an
environment, standard streams, signals and an exit code of its own.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory

# Not "fork": the process of the tests has threads, and open connections that no other process may hold.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["varde_cli.entry", __name__])


def start_on_terminal(words: tuple[str, ...], environ: Mapping[str, str], terminal: str) -> ForkServerProcess:
    """Start a command as the leader of a session, whose own this terminal becomes: there Ctrl-C is a signal."""
    return _start(words, environ, (terminal, terminal, terminal))


def run_forked(
    words: tuple[str, ...], environ: Mapping[str, str], text: str, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, as `subprocess.run` does."""
    with TemporaryDirectory() as folder:
        given, out, err = (Path(folder, name) for name in ("in", "out", "err"))
        given.write_text(text)
        process = _start(words, environ, (str(given), str(out), str(err)))
        process.join(timeout)
        process.kill()  # nothing, unless the time was too short
        process.join()
        assert process.exitcode is not None
        done = subprocess.CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())
        process.close()
        return done


def _start(words: tuple[str, ...], environ: Mapping[str, str], streams: tuple[str, str, str]) -> ForkServerProcess:
    process = _CONTEXT.Process(target=_run, args=(words, dict(environ), streams))
    process.start()
    return process


def _run(words: tuple[str, ...], environ: dict[str, str], streams: tuple[str, str, str]) -> None:
    os.setsid()  # the first terminal that the leader of a session opens becomes its own
    os.environ.clear()
    os.environ.update(environ)
    for number, path in enumerate(streams):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    # Those that were there have been made for other files: a terminal is written to line by line.
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    from varde_cli.entry import main  # noqa: PLC0415 - not for the process of the tests

    sys.exit(main(words))
