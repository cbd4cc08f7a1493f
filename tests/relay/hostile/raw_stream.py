"""How a connection ended, as a hostile peer sees it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

CLOSE: Final = 0x88


async def read_to_the_end(stream: trio.SocketStream, *, stay: bool = False) -> str:
    """Read until the node has said its last word, and say it: `http 408`, `close 1009`, or `eof`.

    Hangs up then; with `stay`, waits until the node does.
    """
    said, ending = b"", "eof"
    with suppress(trio.BrokenResourceError):
        while received := await stream.receive_some():
            said += received
            ending = _ending(said)
            if ending.startswith("close") and not stay:
                break
    await stream.aclose()
    return ending


async def send(stream: trio.SocketStream, story: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
    """Let a peer say what it has to say, also when nobody listens any more."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await story(stream)


def _ending(said: bytes) -> str:
    if not said.startswith(b"HTTP/1.1 "):
        return "eof"
    head, _, rest = said.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode()
    return _close_code(rest) if status == "101" else f"http {status}"


def _close_code(frames: bytes) -> str:
    while len(frames) >= 4:
        length, body = frames[1], 2
        if length == 126:
            length, body = int.from_bytes(frames[2:4]), 4
        if frames[0] == CLOSE and len(frames) >= body + 2:
            return f"close {int.from_bytes(frames[body : body + 2])}"
        frames = frames[body + length :]
    return "eof"
