"""Who owns the home, as a chat on asyncio asks it: a client in a thread of this process, or the program that has it."""

import asyncio
import itertools
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import click
import msgspec
import trio

import varde
from varde_cli.chat.remote import Remote
from varde_cli.options import Home
from varde_cli.rpc.paths import socket_path
from varde_cli.rpc.protocol import REFUSED
from varde_cli.rpc.server import EVENT, SUBSCRIBE, Connection, open_listener
from varde_cli.run import Failure
from varde_contract.exception_groups import single_cause

_LINE_BYTES: Final = 1 << 26
"""Of a page of the longest messages; whoever owns the home is believed."""


class JsonRpc:
    """One connection, over two streams. See `varde_cli.chat.remote.Rpc`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, why: Callable[[], Awaitable[BaseException]]
    ) -> None:
        self._why = why
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._over: BaseException | None = None

    async def run(self) -> None:
        """Read until the other side ends, then tell all who wait why."""
        while line := await self._reader.readline():
            said = msgspec.json.decode(line)
            if said.get("method") == EVENT:
                self._events.put_nowait(said["params"])
            elif (answer := self._answers.pop(said.get("id"), None)) is not None and not answer.done():
                _settle(answer, said)
        self._over = await self._why()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._over)
        self._events.put_nowait(self._over)

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """See `Rpc`."""
        if self._over is not None:
            raise self._over
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        self._writer.write(msgspec.json.encode(request) + b"\n")
        try:
            return await answer
        finally:
            self._answers.pop(number, None)

    async def events(self) -> AsyncIterator[Any]:
        """See `Rpc`."""
        await self.call(SUBSCRIBE, {})
        while not isinstance(event := await self._events.get(), BaseException):
            yield event
        raise event


def _settle(answer: "asyncio.Future[Any]", said: dict[str, Any]) -> None:
    error = said.get("error")
    if error is None:
        answer.set_result(said.get("result"))
    elif error["code"] == REFUSED:
        answer.set_exception(Failure(error["message"], error.get("data", {}).get("advice", "")))
    else:
        answer.set_exception(Failure(f"the program that owns this home folder says: {error['message']}"))


class _Owner(threading.Thread):
    """A client in a thread of its own, on Trio, which owns the home: it serves this chat, and others on the socket."""

    def __init__(self, home: Home, root: click.Group, served: socket.socket) -> None:
        super().__init__(name="client", daemon=True)
        self._home = home
        self._root = root
        self._served = served
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self.ready: Future[None] = Future()
        self.ended: Future[BaseException] = Future()

    def run(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits, in the other thread
            cause = single_cause(error)
            if not self.ready.done():
                self.ready.set_exception(cause)
            self.ended.set_result(cause)
        else:
            self.ended.set_result(Failure("the client has ended"))

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with (
                varde.connect(self._home.folder, self._home.unlock) as client,
                open_listener(client, self._root, self._home.folder),
                trio.SocketStream(trio.socket.from_stdlib_socket(self._served)) as stream,
            ):
                self.ready.set_result(None)
                await Connection(client, self._root, stream, stream).serve()

    def end(self) -> None:
        """Let the client end, in order."""
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel)


@asynccontextmanager
async def open_owner(home: Home, root: click.Group) -> AsyncIterator[Remote]:
    """Ask whoever owns the home for the block: another program, or this one. Raises why there is no client."""
    ours, theirs = socket.socketpair()
    owner = _Owner(home, root, theirs)

    async def own_end() -> BaseException:
        return await asyncio.wrap_future(owner.ended)

    owner.start()
    connection, why = ours, own_end
    try:
        try:
            await asyncio.wrap_future(owner.ready)
        except varde.StoreInUse:
            ours.close()
            found = _connect(home)
            if found is None:
                raise
            connection, why = found, _gone
        async with _open(connection, why) as remote:
            yield remote
    finally:
        owner.end()
        owner.join()  # a second Ctrl-C ends the process meanwhile, which the local store is made for


@asynccontextmanager
async def _open(connection: socket.socket, why: Callable[[], Awaitable[BaseException]]) -> AsyncIterator[Remote]:
    reader, writer = await asyncio.open_connection(sock=connection, limit=_LINE_BYTES)
    rpc = JsonRpc(reader, writer, why)
    running = asyncio.ensure_future(rpc.run())
    try:
        yield Remote(rpc)
    finally:
        running.cancel()
        writer.close()


async def _gone() -> BaseException:
    return Failure("the program that owns this home folder has ended", "start the chat again")


def _connect(home: Home) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_path(home.folder) as path:
            connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        return None
    return connection
