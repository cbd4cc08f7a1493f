"""Calls into a Trio that runs beside the program: in its asyncio loop, or in a thread of its own.

`varde.aio` and `varde.blocking` are made of this. A call is started here, runs as a task of Trio, and ends in a future;
whoever waits decides how to wait.
"""

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

import httpx
import trio

from varde.client import Client
from varde.errors import Ended
from varde.store import Unlock
from varde.tasks import connect

R = TypeVar("R")
T = TypeVar("T")
CALL_SECONDS = 60.0
"""The time limit of a call where the program names none: longer than any honest server takes, shorter than a person."""


@dataclass(slots=True)
class Call(Generic[R]):
    """A call that runs in Trio."""

    future: Future[R]
    cancel: Callable[[], None]
    """Cancel it, from any thread; what it has done already stays done."""


class Calls:
    """A Trio that takes calls from outside: `serve` is its main function."""

    def __init__(self) -> None:
        self.ready: Future[None] = Future()
        self._closing = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None

    async def serve(self) -> None:
        """Take calls until `close`."""
        async with trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            self.ready.set_result(None)
            await self._closing.wait()
            self._nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Take no more calls, and cancel what runs. Again, it does nothing."""
        try:
            self.soon(self._closing.set)
        except Ended:
            return

    def soon(self, function: Callable[[], object]) -> None:
        """Have Trio call a function, from any thread. Raises Ended after the end."""
        if self._token is None:
            raise Ended("the client is not open")
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            raise Ended("the client was closed") from None

    def start(self, function: Callable[[], Awaitable[R]], seconds: float | None) -> Call[R]:
        """Start a call. Its future raises what the call raises, TimeoutError, and Ended where Trio ended first."""
        future: Future[R] = Future()
        scope = trio.CancelScope()

        async def run() -> None:
            try:
                with scope:
                    scope.deadline = trio.current_time() + seconds if seconds is not None else scope.deadline
                    result = await function()
                    future.set_result(result)
                    return
            except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
                future.set_exception(error)
                return
            except BaseException:
                future.set_exception(Ended("the client was closed"))
                raise
            why = f"no answer within {seconds:g} seconds" if seconds is not None else "the call was cancelled"
            future.set_exception(TimeoutError(why))

        def begin() -> None:
            assert self._nursery is not None
            if self._closing.is_set():
                future.set_exception(Ended("the client was closed"))
                return
            self._nursery.start_soon(run)

        def cancel() -> None:
            try:
                self.soon(scope.cancel)
            except Ended:
                return  # then it has ended as well

        self.soon(begin)
        return Call(future, cancel)

    def read(self, function: Callable[[], R]) -> Future[R]:
        """Have Trio call a function that waits for nothing."""

        async def run() -> R:
            return function()

        return self.start(run, None).future


class _LeftWithError(Exception):
    """The block ended with an error: what it was handed last is handed out again by the next process."""


class Holder:
    """A connected client that one task of Trio holds open, from `start` to `leave`."""

    def __init__(
        self, calls: Calls, home: Path | str, unlock: Unlock, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self.opened: Future[Client] = Future()
        self._calls = calls
        self._where = home, unlock, transport
        self._leaving = trio.Event()
        self._failed = False

    def start(self) -> Call[None]:
        """Open it: `opened` tells how that went. The call ends when the client has closed."""
        return self._calls.start(self._hold, None)

    def leave(self, *, failed: bool) -> None:
        """The block has ended."""
        self._failed = failed
        try:
            self._calls.soon(self._leaving.set)
        except Ended:
            return

    async def _hold(self) -> None:
        home, unlock, transport = self._where
        try:
            async with connect(home, unlock, transport=transport) as client:
                self.opened.set_result(client)
                await self._leaving.wait()
                if self._failed:
                    raise _LeftWithError  # noqa: TRY301 - the client sees it
        except _LeftWithError:
            return
        except BaseException as error:
            if self.opened.done() or not isinstance(error, Exception):
                raise
            self.opened.set_exception(error)
        finally:
            if not self.opened.done():
                self.opened.set_exception(Ended("the client was closed"))


class Facade(Generic[T]):
    """An object of the SDK, for programs that are not of Trio. `sdk` is that object."""

    def __init__(self, sdk: T, calls: Calls, seconds: float | None) -> None:
        self.sdk = sdk
        self._calls = calls
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__}>"

    def within(self, seconds: float | None) -> Self:
        """Return the same thing with another time limit for each call, in seconds; None: no limit.

        After it a call raises TimeoutError. What it had begun may still happen: a text that is stored is sent.
        """
        return type(self)(self.sdk, self._calls, seconds)
