"""The table of the chapters, and the demo from the first line to the last.

What happens in a chapter is in its own file.
"""

import os
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from demo.cast import PEOPLE, Registry, make_person
from demo.chapters import (
    absent,
    five_people,
    killed,
    outsider,
    revoked,
    searched,
    signing_up,
    stale,
    twice,
    two_people,
)
from demo.report import write_report
from demo.stage import Chorus, Stage
from demo.story import Broken, Story
from supervisor.log_output import LogOutput
from supervisor.settings import SystemSettings
from supervisor.system import open_system
from varde_contract.exception_groups import ungrouped

Chapter: TypeAlias = Callable[[Stage], Awaitable[None]]

CHAPTERS: Final[dict[str, Chapter]] = {
    "Five people sign up": signing_up.tell,
    "Two people talk": two_people.tell,
    "Five people talk": five_people.tell,
    "A device was off": absent.tell,
    "A message is sent twice": twice.tell,
    "A list of devices is out of date": stale.tell,
    "The relay is killed": killed.tell,
    "A device is taken away": revoked.tell,
    "An outsider tries": outsider.tell,
    "The database is searched": searched.tell,
}
_ANY_PORT: Final = "127.0.0.1:0"
_NOT_OURS: Final = frozenset({"VARDE_DATABASE_URL", "VARDE_SMTP_URL", "VARDE_RELAY_URL", "VARDE_HOME"})


async def run_demo(story: Story, report: Path, *, storm: int, keep: Path | None, log: LogOutput | None) -> int:
    """Tell the whole story, write the report, and return the exit code. Raises what `open_system` raises."""
    begun = time.monotonic()
    with _open_folder(keep) as folder:
        try:
            await _tell_all(story, folder, storm=storm, log=log)
        except Broken as broken:
            if os.environ.get("VARDE_DEBUG"):
                traceback.print_exception(broken)
        finally:
            write_report(report, story.promises, time.monotonic() - begun)
    broken_ones = sum(promise.broken is not None for promise in story.promises)
    kept = len(story.promises) - broken_ones
    story.end(
        f"demo: {kept} promises kept" + (f", {broken_ones} broken" if broken_ones else ""), time.monotonic() - begun
    )
    return 1 if broken_ones else 0


async def _tell_all(story: Story, folder: Path, *, storm: int, log: LogOutput | None) -> None:
    begun = time.monotonic()
    # Somebody's settings for a real system must not lead the story there.
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    settings = SystemSettings.from_environ(environ, data=folder / "data", api_bind=_ANY_PORT, relay_bind=_ANY_PORT)
    chorus = Chorus(log)
    story.begin_chapter("The house is built")
    async with open_system(settings, chorus.tell) as system:
        story.kept("Postgres, relay and API run, each a process of its own", begun)
        stage = Stage(
            story=story,
            system=system,
            registry=Registry(system.api_url, system.data / "outbox"),
            people={name: make_person(folder / "homes", name, devices) for name, devices in PEOPLE.items()},
            storm=storm,
            chorus=chorus,
        )
        for title, chapter in CHAPTERS.items():
            await _tell_chapter(stage, title, chapter)


async def _tell_chapter(stage: Stage, title: str, chapter: Chapter) -> None:
    stage.story.begin_chapter(title)
    try:
        with ungrouped():
            await chapter(stage)
    except Broken:
        raise
    except Exception as surprise:
        raise stage.story.broke("the chapter is told to its end", surprise) from surprise


@contextmanager
def _open_folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield keep.resolve()
        return
    # Short: the path of a Unix socket has hardly a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="varde-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
