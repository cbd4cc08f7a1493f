"""HTTP byte by byte, for clients that do not behave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11
import msgspec
import trio

from tests.api.memory_api import MemoryApi
from varde_contract.ids import decode_text_id
from varde_contract.rest.problems import Problem


@dataclass(frozen=True)
class Answer:
    """One response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Problem:
        """The body as the problem it has to be."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = msgspec.json.decode(self.body, type=Problem, dec_hook=decode_text_id)
        assert problem.status == self.status
        return problem


class RawConnection:
    """A raw connection that sends what it is told and reads whole responses."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._parser = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        await self.stream.send_all(data)

    async def answer(self) -> Answer:
        """Read the next response."""
        if self._parser.our_state is h11.IDLE:
            # The parser has to believe that it asked; what was really sent is the test's business.
            self._parser.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
            self._parser.send(h11.EndOfMessage())
        head, body = await self._event(), b""
        assert isinstance(head, h11.Response), head
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            body += bytes(event.data)
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE:
            self._parser.start_next_cycle()
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Answer(head.status_code, headers, body)

    async def read_to_end(self) -> bytes:
        """Read until the server closes; a reset is an end too."""
        read = b""
        try:
            while data := await self.stream.receive_some():
                read += data
        except trio.BrokenResourceError:
            pass
        return read

    async def _event(self) -> object:
        while (event := self._parser.next_event()) is h11.NEED_DATA:
            self._parser.receive_data(await self.stream.receive_some())
        return event


def get(path: str, *more: str) -> bytes:
    """A GET request with these header lines."""
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *more, "", "")).encode()


@asynccontextmanager
async def open_connection(api: MemoryApi) -> AsyncIterator[RawConnection]:
    """A raw connection."""
    async with await api.connect() as stream:
        yield RawConnection(stream)
