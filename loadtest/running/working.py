"""A worker process from its start to its end.

Importing this file imports locust, which patches the process.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

import gevent
from gevent import socket
from locust.env import Environment
from locust.event import Events

from loadtest.command.exits import CouldNotRun
from loadtest.running.duty import Duty, lift_limits
from loadtest.running.user import VardeUser

_CROWDED: Final = 64


def work(master: tuple[str, int], crowd: Path | None, *, tethered: bool) -> int:
    """Work for a master until it says that all is over. Raises CouldNotRun when there is no master."""
    logging.getLogger("locust").setLevel(logging.ERROR)
    lift_limits()
    if tethered:
        gevent.spawn(_end_with_input)
    environment: Any = Environment(user_classes=[VardeUser], events=Events())  # type: ignore[no-untyped-call]
    try:
        runner = environment.create_worker_runner(*master)
    except (ConnectionError, OSError) as error:
        raise CouldNotRun(f"no master answers at {master[0]}:{master[1]}") from error
    Duty(runner, crowd)
    runner.greenlet.join()
    return 0


def _end_with_input() -> None:
    """End with whoever started us: its end of the pipe closes, whatever became of it."""
    while True:
        socket.wait_read(sys.stdin.fileno())
        if not os.read(sys.stdin.fileno(), _CROWDED):
            os._exit(0)
