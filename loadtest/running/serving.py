"""Locust's web page over a system and workers of this machine, until Ctrl-C.

Importing this file imports locust, which patches the process.
"""

import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gevent
from locust.env import Environment
from locust.event import Events
from locust.stats import stats_history

from loadtest.command.exits import CouldNotRun
from loadtest.running.duty import lift_limits
from loadtest.running.interruption import heed_interruption
from loadtest.running.leading import Leading
from loadtest.running.local_workers import LocalWorkers, open_workers, wait_for_workers
from loadtest.running.options import Options
from loadtest.running.shape import RunShape
from loadtest.running.system import System
from loadtest.running.user import VardeUser
from loadtest.stack.process import listens


def serve(options: Options, address: tuple[str, int]) -> int:
    """Serve the page at `address`; runs are started there. Returns the exit code; raises CouldNotRun."""
    if listens(address):
        raise CouldNotRun(f"somebody listens at {address[0]}:{address[1]} already", "Choose another --port.")
    logging.getLogger("locust").setLevel(logging.ERROR)
    lift_limits()
    events: Any = Events()  # type: ignore[no-untyped-call]
    shape: Any = RunShape()
    shape.use_common_options = False  # what Locust's form could ask for is on our command line
    environment: Any = Environment(user_classes=[VardeUser], shape_class=shape, events=events)
    sys.argv = sys.argv[:1]  # Locust's page reads it, and would not know our words
    runner = environment.create_master_runner(*options.bind)
    web = environment.create_web_ui(*address, delayed_start=True)
    history = gevent.spawn(stats_history, runner)
    with TemporaryDirectory(prefix="varde-load-logs-") as logs, heed_interruption(lambda: False):

        def start_workers(system: System, stack: ExitStack) -> LocalWorkers:
            found = (options.bind[0], runner.server.port)
            workers = stack.enter_context(open_workers(options.workers, found, system.crowd_file, Path(logs)))
            wait_for_workers(runner, workers, options)
            return workers

        leading = Leading(environment, options, start_workers)
        try:
            leading.open()
            web.start()
            leading.progress.say(f"http://{address[0]}:{address[1]} is ready; Ctrl-C ends it")
            web.greenlet.join()  # as long as somebody wants it
        except KeyboardInterrupt:
            leading.progress.say("ending")
        finally:
            environment.events.quitting.fire(environment=environment, reverse=True)
            web.stop()
            gevent.killall([history, runner.greenlet] if isinstance(runner.greenlet, gevent.Greenlet) else [history])
    return environment.process_exit_code or 0
