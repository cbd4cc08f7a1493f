"""The client in Node: WebSocket, msgpack and Noise are all somebody else's than ours; spoken to in lines of JSON."""

import json
import os
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, get_args
from uuid import UUID

import msgspec
import trio
from msgspec import Struct

from tests.relay.client import ConnectionClosed, RelayClient
from tests.relay.library_clients import Credentials
from tests.system import require, require_modules
from varde_contract import frames as f
from varde_contract.ids import decode_binary_id

FOLDER: Final = Path(__file__).parent
KINDS: Final = {f.tag_of(kind): kind for kind in get_args(f.ServerFrame)}
LINE_BYTES: Final = 65_536

F = TypeVar("F", bound=Struct)


class Failed(Exception):
    """The script found something wrong, and says what."""


class NodeClient(RelayClient):
    """One connection of the script. `upgraded` is what it saw of the upgrade, `pongs` and `pings` are what came."""

    def __init__(self, process: trio.Process, credentials: Credentials, url: str) -> None:
        super().__init__()
        self._process = process
        self._credentials = credentials
        self._url = url
        assert process.stdout is not None
        self._lines = Lines(process.stdout)
        self._drained = False
        self.upgraded: Mapping[str, Any] = {}
        self.pongs: deque[bytes] = deque()
        self.pings = 0

    @property
    def drained(self) -> bool:
        """Whether the relay has sent goaway."""
        return self._drained

    async def connect(self) -> f.Welcome:
        """Go through the Noise handshake and return the Welcome."""
        who = self._credentials
        await self._command(
            "enter",
            url=self._url,
            pattern=who.pattern.name,
            static=who.static.private_bytes(),
            relay=who.relay_key,
            ticket=who.hello.ticket,
            device=who.hello.device.bytes,
        )
        return await self.wait_for(f.Welcome)

    async def send(self, *frames: Struct) -> None:
        """Send frames in one message."""
        await self._command("say", frames=[[f.tag_of(type(frame)), *map(_plain, _fields(frame))] for frame in frames])

    async def ping(self, payload: bytes) -> bytes:
        """Send a ping and return what the pong brings back."""
        await self._command("ping", bytes=payload)
        while not self.pongs:
            await self.read()
        return self.pongs.popleft()

    async def close(self, code: int, reason: str) -> None:
        """Begin to close."""
        await self._command("close", code=code, reason=reason)

    async def _command(self, verb: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"do": verb, **arguments}, default=_to_json).encode() + b"\n")

    async def read(self) -> None:
        """Take one event of the script. Raises ConnectionClosed and Failed."""
        event = json.loads(await self._lines.take(), object_hook=_from_json)
        match event:
            case {"frame": [tag, *fields]}:
                self.frames.append(_frame(tag, fields))
                self._drained |= tag == f.tag_of(f.Goaway)
            case {"pong": payload}:
                self.pongs.append(payload)
            case {"pinged": _}:
                self.pings += 1
            case {"upgraded": True}:
                self.upgraded = event
            case {"closed": code, "reason": reason}:
                raise ConnectionClosed(code, reason)
            case _:
                raise Failed(event)


class Lines:
    """The lines that the script writes."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._lines: deque[bytes] = deque()
        self._unread = b""

    async def take(self) -> bytes:
        """Return the next one. Raises Failed when there is none."""
        while not self._lines:
            received = await self._stream.receive_some(LINE_BYTES)
            if not received:
                raise Failed("the script ended")
            *lines, self._unread = (self._unread + received).split(b"\n")
            self._lines.extend(lines)
        return self._lines.popleft()


def _fields(frame: Struct) -> list[Any]:
    return [getattr(frame, name) for name in frame.__struct_fields__]


def _plain(value: Any) -> Any:
    """What JSON takes, but for bytes: a map with ids as its keys becomes a list that says so."""
    if isinstance(value, dict):
        return ["map", *([_plain(key), _plain(each)] for key, each in value.items())]
    return value.bytes if isinstance(value, UUID) else value


def _to_json(value: object) -> dict[str, str]:
    assert isinstance(value, bytes | bytearray)
    return {"bin": value.hex()}


def _from_json(found: dict[str, Any]) -> Any:
    return bytes.fromhex(found["bin"]) if found.keys() == {"bin"} else found


def _frame(tag: str, fields: list[Any]) -> f.ServerFrame:
    kind = KINDS[tag]
    frame: f.ServerFrame = msgspec.convert([tag, *fields], kind, builtin_types=(bytes,), dec_hook=decode_binary_id)
    return frame


@asynccontextmanager
async def open_with_node(url: str, credentials: Credentials) -> AsyncIterator[RelayClient]:
    """A client in Node."""
    async with open_node(url, credentials) as client:
        yield client


@asynccontextmanager
async def open_node(url: str, credentials: Credentials) -> AsyncIterator[NodeClient]:
    """The same, with what only this one can do."""
    node = require("node", "nodejs")
    modules = await trio.to_thread.run_sync(require_modules, FOLDER)
    environ = {**os.environ, "NODE_PATH": str(modules)}
    command = (str(node), str(FOLDER / "client.cjs"))
    run = partial(trio.run_process, command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(run)
        yield NodeClient(process, credentials, url)
        nursery.cancel_scope.cancel()
