"""Promises: each is kept in its time, or broken with what was expected and seen. Printed, and written to a report."""

import os
import platform
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

import click
import msgspec
import trio
from msgspec import Struct

from varde_contract.exception_groups import single_cause

TIMEOUT: Final = 30.0  # seconds for one promise; each takes far less


class BrokenPromise(Exception):
    """A promise was not kept."""

    def __init__(self, expected: object, seen: object) -> None:
        super().__init__("a promise was broken")
        self.expected = expected
        self.seen = seen


class Promise(Struct, frozen=True):
    """One promise, and how long it took to keep it. `broken` holds what was expected and seen."""

    chapter: str
    text: str
    seconds: float
    broken: tuple[str, str] | None = None


def expect(seen: object, expected: object) -> None:
    """Break the promise unless both are equal."""
    if seen != expected:
        raise BrokenPromise(expected, seen)


class Transcript:
    """Prints chapters and promises as they come. On a terminal with colour and a progress bar."""

    def __init__(self, out: TextIO, *, colour: bool, progress_bar: bool) -> None:
        self._out = out
        self._colour = colour
        self._progress_bar = progress_bar
        self._shown = -1
        self._chapter = ""
        self.promises: list[Promise] = []

    def begin_chapter(self, title: str) -> None:
        """Print a heading."""
        self._chapter = title
        self._line(self._style(f"\n{title}", bold=True))

    def note(self, text: str) -> None:
        """Print something that is no promise."""
        self._line(self._style(f"    {text}", dim=True))

    @asynccontextmanager
    async def promise(self, text: str, within: float = TIMEOUT) -> AsyncIterator[None]:
        """Keep a promise by the end of the block, in so many seconds. Otherwise print it and raise BrokenPromise."""
        begun = time.monotonic()
        try:
            with trio.fail_after(within):
                yield
        except trio.TooSlowError:
            raise self.broke(
                text, BrokenPromise(f"to be done within {within:g} s", "still waiting then"), begun
            ) from None
        except Exception as error:
            raise self.broke(text, single_cause(error), begun) from error
        self.kept(text, begun)

    def kept(self, text: str, begun: float) -> None:
        """Print a promise that was kept; `begun` is a moment of `time.monotonic`."""
        self._close(text, begun, None)

    def broke(self, text: str, cause: BaseException, begun: float | None = None) -> BrokenPromise:
        """Print a promise that was broken, and return what to raise."""
        broken = cause if isinstance(cause, BrokenPromise) else _surprise(cause)
        shown = (_short(broken.expected), _short(broken.seen))
        self._close(text, time.monotonic() if begun is None else begun, shown)
        return broken

    def end(self, text: str, seconds: float) -> None:
        """Print the last line."""
        self._line(f"\n{self._style(text, bold=True)} {self._style(f'({seconds:.0f} s)', dim=True)}")

    def progress(self, done: int, of: int, what: str) -> None:
        """Show how far a long promise has come: a bar on a terminal, otherwise a line for every quarter."""
        if self._progress_bar:
            filled = 30 * done // of
            self._out.write(f"\r\x1b[K    {'█' * filled}{'░' * (30 - filled)} {done} of {of} {what}")
            self._out.flush()
        elif (quarter := 4 * done // of) > self._shown:
            self._shown = quarter
            self.note(f"{done} of {of} {what}")

    def _close(self, text: str, begun: float, broken: tuple[str, str] | None) -> None:
        self._shown = -1
        seconds = time.monotonic() - begun
        self.promises.append(Promise(self._chapter, text, round(seconds, 3), broken))
        if self._progress_bar:
            self._out.write("\r\x1b[K")
        mark = self._style("✗", fg="bright_red") if broken else self._style("✓", fg="bright_green")
        self._line(f"  {mark} {text} {self._style(f'({seconds:.1f} s)', dim=True)}")
        for word, what in zip(("expected", "seen"), broken or (), strict=False):
            self._line(f"      {word + ':':<10}{what}")

    def _style(self, text: str, *, fg: str | None = None, bold: bool = False, dim: bool = False) -> str:
        return click.style(text, fg=fg, bold=bold or None, dim=dim or None) if self._colour else text

    def _line(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def _surprise(cause: BaseException) -> BrokenPromise:
    return BrokenPromise("no surprise", f"{type(cause).__name__}: {cause}")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 400 else f"{text[:400]} … ({len(text)} characters)"  # noqa: PLR2004 - four lines or so


class Machine(Struct, frozen=True):
    """Where it ran."""

    system: str
    architecture: str
    python: str
    cores: int


class Report(Struct, frozen=True):
    """The content of `build/demo.json`."""

    finished_at: datetime
    seconds: float
    kept: int
    broken: int
    promises: tuple[Promise, ...]
    machine: Machine


def write_report(path: Path, promises: list[Promise], seconds: float) -> None:
    """Write the report whole. Raises OSError."""
    report = Report(
        finished_at=datetime.now(UTC),
        seconds=round(seconds, 3),
        kept=sum(promise.broken is None for promise in promises),
        broken=sum(promise.broken is not None for promise in promises),
        promises=tuple(promises),
        machine=Machine(
            system=f"{platform.system()} {platform.release()}",
            architecture=platform.machine(),
            python=platform.python_version(),
            cores=os.cpu_count() or 0,
        ),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    draft.replace(path)
