"""The owner's side: calls are answered from the opened client, and events told to who has subscribed."""

import difflib
import os
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import click
import msgspec
import trio
from msgspec import Raw, Struct

import varde
from varde.errors import VardeError
from varde_cli.rpc import protocol
from varde_cli.rpc.commands import Command, divided_streams, run_for
from varde_cli.rpc.forward import COMMAND, OUTPUT
from varde_cli.rpc.methods import METHODS
from varde_cli.rpc.paths import socket_path
from varde_cli.rpc.protocol import Answer, Error, Invalid, Lines, Notification, Request
from varde_cli.run import Failure, telling_revocation
from varde_contract.ids import decode_text_id

CONNECTIONS_MOST: Final = 64
EVENTS_MOST: Final = 1_000
"""Events that wait for a slow reader; with one more it is cut."""
CALLS_MOST: Final = 256
"""Calls of one connection that are under way; the next one is read when one of them ends.

Not fewer: each message that is typed into a chat while offline is a call that waits."""
SUBSCRIBE: Final = "subscribe"
EVENT: Final = "event"
_TEXT_MOST: Final = 1 << 16

_ENDING_SECONDS: Final = 60.0
"""How long calls may still take when the other side asks nothing more: a message may wait for days."""

S = TypeVar("S", bound=Struct)


class _Slow(Exception):
    """The other side does not read."""


class Connection:
    """One program at the other end of two streams."""

    def __init__(
        self, client: varde.Client, root: click.Group, reader: trio.abc.ReceiveStream, writer: trio.abc.SendStream
    ) -> None:
        self._client = client
        self._root = root
        self._lines = Lines(reader)
        self._writer = writer
        self._send, self._outgoing = trio.open_memory_channel[bytes](EVENTS_MOST)
        self._calls = trio.Semaphore(CALLS_MOST)
        self._watching = False
        self._nursery: trio.Nursery

    async def serve(self) -> None:
        """Answer until the other side ends, or is cut. Raises why the client ended."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._write)
                await self._read()
                # What was asked is answered before the end. But who watched has gone.
                with trio.move_on_after(0 if self._watching else _ENDING_SECONDS):
                    for _ in range(CALLS_MOST):
                        await self._calls.acquire()
                    self._send.close()
                    return
                self._nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, _Slow):
            pass

    async def _read(self) -> None:
        while True:
            try:
                line = await self._lines.next()
            except Invalid as fault:
                await self._answer(None, fault.error)
                return
            if line is None:
                return
            try:
                request = protocol.decode_request(line)
            except Invalid as fault:
                await self._answer(None, fault.error)
                continue
            await self._calls.acquire()
            self._nursery.start_soon(self._call, request)

    async def _call(self, request: Request) -> None:
        result: Raw | Error
        try:
            result = await self._carry_out(request)
        except Invalid as fault:
            result = fault.error
        except (VardeError, Failure) as fault:
            result = protocol.error_of(fault)
        except OSError as fault:
            result = Error(protocol.REFUSED, fault.strerror or "the system refused it", {"code": "system"})
        except ValueError as fault:
            result = Error(protocol.REFUSED, str(fault), {"code": "bad-value"})
        except Exception as fault:  # noqa: BLE001 - the fence: no request ends the owner
            result = Error(protocol.INTERNAL_ERROR, f"something unexpected happened ({type(fault).__name__})")
        if request.id is not msgspec.UNSET:
            await self._answer(request.id, result)
        self._calls.release()

    async def _carry_out(self, request: Request) -> Raw:
        if request.method == SUBSCRIBE:
            if not self._watching:
                self._watching = True
                self._nursery.start_soon(self._tell)
            return Raw(b"null")
        if request.method == COMMAND:
            self._watching = True
            return await self._run(_decode(request.params, Command, COMMAND))
        return await call(self._client, request.method, request.params)

    async def _answer(self, identity: str | float | None, result: Raw | Error) -> None:
        answer = (
            Answer("2.0", identity, error=result)
            if isinstance(result, Error)
            else Answer("2.0", identity, result=result)
        )
        await self._send.send(protocol.encode_line(answer))

    async def _tell(self) -> None:
        async for event in self._client.events():
            try:
                self._send.send_nowait(protocol.encode_line(Notification("2.0", EVENT, event)))
            except trio.WouldBlock:
                raise _Slow from None

    async def _run(self, command: Command) -> Raw:
        output = _Output(self._send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(output.run)
            code = await run_for(self._client, self._root, command, output.write)
            output.end()
        return Raw(msgspec.json.encode(code))

    async def _write(self) -> None:
        async for line in self._outgoing:
            await self._writer.send_all(line)  # no deadline: who does not read is cut when its events are too many
        await self._writer.aclose()


class _Output:
    """What a command has printed and nobody has read yet."""

    def __init__(self, send: trio.MemorySendChannel[bytes]) -> None:
        self._send = send
        self._texts: deque[tuple[bool, str]] = deque()
        self._token = trio.lowlevel.current_trio_token()
        self._more = trio.Event()
        self._ended = False

    def write(self, error: bool, text: str) -> None:  # noqa: FBT001 - see `commands.Write`
        """Take a text, in any thread."""
        self._texts.append((error, text))
        self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._more.set()

    def end(self) -> None:
        """Let `run` return when everything is passed on: cancelled, it would lose what it is just sending."""
        self._ended = True
        self._wake()

    async def run(self) -> None:
        """Pass on what comes, several texts in one line."""
        while not self._ended:
            await self._more.wait()
            self._more = trio.Event()
            await self._flush()

    async def _flush(self) -> None:
        while self._texts:
            error, text = self._texts.popleft()
            while self._texts and self._texts[0][0] == error and len(text) < _TEXT_MOST:
                text += self._texts.popleft()[1]
            await self._send.send(protocol.encode_line(Notification("2.0", OUTPUT, {"error": error, "text": text})))


def _decode(params: bytes, kind: type[S], method: str) -> S:
    try:
        return msgspec.json.decode(params, type=kind, dec_hook=decode_text_id)
    except msgspec.ValidationError as error:
        raise Invalid(Error(protocol.INVALID_PARAMS, f"{method}: {error}")) from None


async def call(client: varde.Client, method: str, params: bytes) -> Raw:
    """Call a method; params and result are JSON. Raises Invalid, VardeError, Failure, OSError."""
    found = METHODS.get(method)
    if found is None:
        near = difflib.get_close_matches(method[:100], [*METHODS, SUBSCRIBE], 1)
        advice = f"; did you mean '{near[0]}'?" if near else ""
        raise Invalid(Error(protocol.METHOD_NOT_FOUND, f"there is no such method{advice}"))
    given = _decode(params, found.params, method)
    async with telling_revocation(client):
        return Raw(msgspec.json.encode(await found.run(client, given)))


@asynccontextmanager
async def open_listener(client: varde.Client, root: click.Group, home: Path) -> AsyncIterator[None]:
    """Listen on the home's socket for the block. Whoever calls holds the home's lock."""
    with socket_path(home) as path, divided_streams():
        path.unlink(missing_ok=True)  # of an owner that was killed: nobody else can be there, the lock is ours
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with listener:
            listener.bind(os.fspath(path))
            path.chmod(0o600)  # before anybody can connect, which is from `listen` on
            listener.listen(CONNECTIONS_MOST)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_accept, trio.socket.from_stdlib_socket(listener.dup()), client, root, nursery)
                    yield
                    nursery.cancel_scope.cancel()
            finally:
                path.unlink(missing_ok=True)


async def _accept(
    listener: trio.socket.SocketType, client: varde.Client, root: click.Group, nursery: trio.Nursery
) -> NoReturn:
    limit = trio.Semaphore(CONNECTIONS_MOST)
    with listener:
        while True:
            await limit.acquire()
            accepted, _ = await listener.accept()
            if _uid_of(accepted) not in {os.geteuid(), 0}:
                accepted.close()
                limit.release()
                continue
            nursery.start_soon(_serve, trio.SocketStream(accepted), client, root, limit)


async def _serve(stream: trio.SocketStream, client: varde.Client, root: click.Group, limit: trio.Semaphore) -> None:
    try:
        async with stream:
            await Connection(client, root, stream, stream).serve()
    finally:
        limit.release()


def _uid_of(connection: trio.socket.SocketType) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
