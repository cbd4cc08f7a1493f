"""`varde up` and `varde relay --workers N` in the foreground, until a signal ends them."""

import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import trio

from supervisor.events import ProcessEvent, Ready
from supervisor.fleet import Fleet, open_fleet
from supervisor.log_output import LogOutput
from supervisor.settings import SystemSettings
from supervisor.system import System, open_system
from varde_contract.exception_groups import ungrouped


def write_ready_file(path: Path, system: System) -> None:
    """Write addresses and process numbers as JSON, for tests and scripts. Raises OSError.

    The file is replaced whole, so that a reader sees the old one or the new one. It never holds the database URL: that
    may hold a password.
    """
    content = {
        "api": system.api_url,
        "relay": system.relay_url,
        "data": str(system.data),
        "pids": {"varde": os.getpid(), **{each.program.name: each.pid for each in system.programs}},
        "starts": {each.program.name: each.starts for each in system.programs},
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(path)


async def run_until_signal(
    work: Callable[[trio.Event], Awaitable[None]],
    log: LogOutput,
    *,
    reload: Callable[[], None] | None = None,
) -> None:
    """Run `work` until SIGINT, SIGTERM or SIGHUP, then cancel it. A second one sets the event that it was given:
    programs that are being stopped are killed.

    With `reload`, SIGHUP calls it and stops nothing. Raises what the work raises, without groups around it.
    """
    kill_now = trio.Event()
    with ungrouped(), trio.open_signal_receiver(*_signals(hangup=reload is not None)) as signals:
        async with trio.open_nursery() as nursery:
            working = trio.CancelScope()

            def stop(name: str) -> None:
                if working.cancel_called:
                    log.say(f"{name} again: killing what still runs")
                    kill_now.set()
                else:
                    log.say(f"{name}: stopping; once more kills at once")
                    working.cancel()

            nursery.start_soon(_handle_signals, signals, stop, reload)
            with working:
                await work(kill_now)
            nursery.cancel_scope.cancel()


def _signals(*, hangup: bool) -> Iterator[signal.Signals]:
    yield from (signal.SIGINT, signal.SIGTERM)
    # Under nohup it is ignored, and a closed terminal shall not stop anything.
    if hangup or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


async def _handle_signals(
    signals: AsyncIterator[int], stop: Callable[[str], None], reload: Callable[[], None] | None
) -> None:
    async for number in signals:
        if number == signal.SIGHUP and reload is not None:
            reload()
        else:
            stop(signal.Signals(number).name)


async def run_up(
    settings: SystemSettings, log: LogOutput, *, welcome: Callable[[System], str], ready_file: Path | None = None
) -> None:
    """Run the system until SIGINT, SIGTERM or SIGHUP, then stop it in order; a second signal kills what still runs.

    Raises what `open_system` raises.
    """
    await run_until_signal(lambda kill_now: _run_system(settings, log, welcome, ready_file, kill_now), log)
    log.say("everything has stopped; the data stays in its folder")


async def _run_system(
    settings: SystemSettings,
    log: LogOutput,
    welcome: Callable[[System], str],
    ready_file: Path | None,
    kill_now: trio.Event,
) -> None:
    # Empty while the system starts: the first programs are ready long before there is a system to write down.
    running: list[System] = []

    def write_ready() -> None:
        if ready_file and running:
            write_ready_file(ready_file, running[0])

    def report(event: ProcessEvent) -> None:
        log.report(event)
        if isinstance(event, Ready):
            write_ready()

    async with open_system(settings, report, kill_now=kill_now) as system:
        running.append(system)
        write_ready()
        log.say(welcome(system))
        await trio.sleep_forever()


async def run_fleet(settings: SystemSettings, log: LogOutput, announce: Callable[[Fleet], None]) -> None:
    """Run the fleet until SIGINT or SIGTERM, then drain all of it at once; a second one kills.

    SIGHUP is passed on where the workers have certificates to read again; elsewhere it stops them, too. `announce` is
    called once, when all workers are ready. Raises what `open_fleet` raises.
    """
    fleets: list[Fleet] = []
    reload_requested = trio.Event()

    def reload() -> None:
        reload_requested.set()
        for fleet in fleets:
            fleet.reload()

    async def work(kill_now: trio.Event) -> None:
        async with open_fleet(settings, log.report, kill_now=kill_now) as fleet:
            fleets.append(fleet)
            if reload_requested.is_set():  # before the fleet was ready: some workers may have read theirs already
                fleet.reload()
            announce(fleet)
            await trio.sleep_forever()  # a signal cancels it

    await run_until_signal(work, log, reload=reload if settings.tls else None)
    log.say("all workers have stopped")
