"""The lines of JSON-RPC 2.0: one object each, in UTF-8, ended by a line feed.

https://www.jsonrpc.org/specification
"""

from typing import Any, Final, Literal

import msgspec
import trio
from msgspec import UNSET, Raw, Struct, UnsetType

from varde.errors import VardeError
from varde_cli.run import Failure

LINE_BYTES: Final = 1 << 20
_CHUNK: Final = 1 << 16

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
REFUSED: Final = -32000
"""Ours, of the range for servers: `data.code` is the word for programs, `data.advice` what a person can do."""


class Request(Struct, frozen=True):
    """A call; without an id nobody waits for its answer."""

    jsonrpc: Literal["2.0"]
    method: str
    params: Raw = Raw(b"{}")
    id: str | int | float | UnsetType | None = UNSET


class Error(Struct, frozen=True, omit_defaults=True):
    """Why a call was not carried out. `data` has `code`, and perhaps `advice`."""

    code: int
    message: str
    data: dict[str, str] = {}


class Answer(Struct, frozen=True, omit_defaults=True):
    """What a call returned, or its error."""

    jsonrpc: Literal["2.0"]
    id: str | int | float | None
    result: Raw | UnsetType = UNSET
    error: Error | UnsetType = UNSET


class Notification(Struct, frozen=True):
    """Something happened, for who has subscribed."""

    jsonrpc: Literal["2.0"]
    method: str
    params: Any


class Invalid(Exception):
    """What came is no request: `error` answers it."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


_request: Final = msgspec.json.Decoder(Request)


def decode_request(line: bytes) -> Request:
    """Read a line. Raises Invalid, which quotes nothing of it."""
    if line.lstrip()[:1] == b"[":
        raise Invalid(Error(INVALID_REQUEST, "one request a line, please: batches are not answered"))
    try:
        return _request.decode(line)
    except msgspec.ValidationError as error:
        raise Invalid(Error(INVALID_REQUEST, f"this is no JSON-RPC 2.0 request: {error}")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid(Error(PARSE_ERROR, "this line is not JSON")) from None


def encode_line(value: Answer | Notification | Request) -> bytes:
    """Encode an object as its line."""
    return msgspec.json.encode(value) + b"\n"


def error_of(error: VardeError | Failure) -> Error:
    """Describe a failure that a person can understand."""
    data = {"code": error.code if isinstance(error, VardeError) else "failed"}
    return Error(REFUSED, str(error), data | ({"advice": error.advice} if error.advice else {}))


class Lines:
    """Reads a stream line by line. A line that is longer than `LINE_BYTES` ends it: nobody knows where it will end."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = b""

    async def next(self) -> bytes | None:
        """Return the next line that is not blank, None at the end. Raises Invalid for one that is too long."""
        searched = 0
        while True:
            end = self._rest.find(b"\n", searched)
            if end >= 0:
                line, self._rest = self._rest[:end], self._rest[end + 1 :]
                searched = 0
                if line.strip():
                    return line
                continue
            if len(self._rest) > LINE_BYTES:
                raise Invalid(Error(INVALID_REQUEST, f"a line has at most {LINE_BYTES} bytes"))
            searched = len(self._rest)
            chunk = await self._stream.receive_some(_CHUNK)
            if not chunk:
                return None  # half a line at the end is nothing
            self._rest += chunk
