"""The demo from the first line to the last: the system started, the chapters run in order, the report written."""

import os
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from demo.chapters.access_control import non_member, revoked_device, stranger
from demo.chapters.conversations import direct_messages, group_of_five, sign_up
from demo.chapters.database_search import search_database
from demo.chapters.delivery import offline_device, repeated_send, stale_device_list
from demo.chapters.dishonest_operator import forked_history, ghost_device
from demo.chapters.links import meet_by_links
from demo.chapters.relay_crash import relay_crash
from demo.context import DemoContext, ProcessLog
from demo.people import PEOPLE, SignUps, make_person
from demo.promises import BrokenPromise, Transcript, write_report
from supervisor.log_output import LogOutput
from supervisor.settings import SystemSettings
from supervisor.system import open_system
from varde_contract.exception_groups import ungrouped

Chapter: TypeAlias = Callable[[DemoContext], Awaitable[None]]

CHAPTERS: Final[dict[str, Chapter]] = {
    "Five people sign up": sign_up,
    "Two people talk": direct_messages,
    "Five people talk": group_of_five,
    "A device was off": offline_device,
    "A message is sent twice": repeated_send,
    "A list of devices is out of date": stale_device_list,
    "The relay is killed": relay_crash,
    "The operator adds a device": ghost_device,
    "The operator forks a history": forked_history,
    "A device is taken away": revoked_device,
    "An outsider tries": non_member,
    "A stranger asks": stranger,
    "People meet by links": meet_by_links,
    "The database is searched": search_database,
}
_ANY_PORT: Final = "127.0.0.1:0"
_IGNORED: Final = frozenset({"VARDE_DATABASE_URL", "VARDE_SMTP_URL", "VARDE_RELAY_URL", "VARDE_HOME"})


async def run_demo(
    transcript: Transcript, report: Path, *, message_count: int, keep: Path | None, log: LogOutput | None
) -> int:
    """Run all chapters, write the report, and return the exit code. Raises what `open_system` raises."""
    begun = time.monotonic()
    with _open_folder(keep) as folder:
        try:
            await _run_chapters(transcript, folder, message_count=message_count, log=log)
        except BrokenPromise as broken:
            if os.environ.get("VARDE_DEBUG"):
                traceback.print_exception(broken)
        finally:
            write_report(report, transcript.promises, time.monotonic() - begun)
    broken_ones = sum(promise.broken is not None for promise in transcript.promises)
    kept = len(transcript.promises) - broken_ones
    transcript.end(
        f"demo: {kept} promises kept" + (f", {broken_ones} broken" if broken_ones else ""), time.monotonic() - begun
    )
    return 1 if broken_ones else 0


async def _run_chapters(transcript: Transcript, folder: Path, *, message_count: int, log: LogOutput | None) -> None:
    begun = time.monotonic()
    # The settings of somebody's real system must not lead the demo there.
    environ = {name: value for name, value in os.environ.items() if name not in _IGNORED}
    settings = SystemSettings.from_environ(environ, data=folder / "data", api_bind=_ANY_PORT, relay_bind=_ANY_PORT)
    process_log = ProcessLog(log)
    transcript.begin_chapter("The house is built")
    async with open_system(settings, process_log.report) as system:
        transcript.kept("Postgres, relay and API run, each a process of its own", begun)
        context = DemoContext(
            transcript=transcript,
            system=system,
            sign_ups=SignUps(system.api_url, system.data / "outbox"),
            people={name: make_person(folder / "homes", name, devices) for name, devices in PEOPLE.items()},
            message_count=message_count,
            process_log=process_log,
        )
        for title, chapter in CHAPTERS.items():
            await _run_chapter(context, title, chapter)


async def _run_chapter(context: DemoContext, title: str, chapter: Chapter) -> None:
    context.transcript.begin_chapter(title)
    try:
        with ungrouped():
            await chapter(context)
    except BrokenPromise:
        raise
    except Exception as surprise:
        raise context.transcript.broke("the chapter is told to its end", surprise) from surprise


@contextmanager
def _open_folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield keep.resolve()
        return
    # Short: the path of a Unix socket has hardly a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="varde-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
