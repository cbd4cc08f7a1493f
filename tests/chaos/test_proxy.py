"""The bad network, in time that jumps: every byte comes, in order, as late as the conditions say; or is cut as told."""

import random
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from chaos.proxy import Conditions, Link, open_delay, open_link

DICE = random.Random(1)  # noqa: S311 - to repeat it


@asynccontextmanager
async def open_echo() -> AsyncIterator[Link]:
    """A link to a server that sends back what it gets."""

    async def echo(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                while received := await stream.receive_some():
                    await stream.send_all(received)
            except trio.BrokenResourceError:
                return

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        async with open_link(partial(trio.open_tcp_stream, "127.0.0.1", port), DICE) as link:
            yield link
        nursery.cancel_scope.cancel()


async def exchange(stream: trio.SocketStream, sent: bytes) -> bytes:
    """Send, and read as much."""
    await stream.send_all(sent)
    received = bytearray()
    while len(received) < len(sent):
        received += await stream.receive_some()
    return bytes(received)


@pytest.mark.parametrize(
    ("conditions", "least"),
    [
        pytest.param(Conditions(), 0.0, id="good"),
        pytest.param(Conditions(latency=0.5, jitter=0.2), 1.0, id="slow"),
        pytest.param(Conditions(slice_bytes=7), 0.0, id="sliced"),
        pytest.param(Conditions(bytes_per_second=1_000), 10.0, id="narrow"),
    ],
)
async def test_every_byte_comes(autojump_clock: MockClock, conditions: Conditions, least: float) -> None:
    """In order, and not sooner than the conditions let it."""
    sent = DICE.randbytes(5_000)
    async with open_echo() as link:
        link.conditions = conditions
        async with await trio.open_tcp_stream("127.0.0.1", link.port) as stream:
            began = trio.current_time()
            assert await exchange(stream, sent) == sent
            assert trio.current_time() - began >= least


async def test_a_stalled_link_says_nothing(autojump_clock: MockClock) -> None:
    """Until it flows again: then all comes that had gathered."""
    async with open_echo() as link, await trio.open_tcp_stream("127.0.0.1", link.port) as stream:
        assert await exchange(stream, b"before") == b"before"
        link.stall()
        await stream.send_all(b"meanwhile")
        with trio.move_on_after(60):
            pytest.fail(f"{await stream.receive_some()!r} came through")
        link.flow()
        assert await stream.receive_some() == b"meanwhile"


async def test_a_reset_is_a_reset(autojump_clock: MockClock) -> None:
    """Not an orderly end; and who comes to a link that refuses is cut at once."""
    async with open_echo() as link:
        async with await trio.open_tcp_stream("127.0.0.1", link.port) as stream:
            await exchange(stream, b"before")
            link.reset()
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        link.refuses = True
        async with await trio.open_tcp_stream("127.0.0.1", link.port) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_half_an_end(autojump_clock: MockClock) -> None:
    """The part behind sees the end of its client; this one ends its own half, and that comes back."""
    async with open_echo() as link, await trio.open_tcp_stream("127.0.0.1", link.port) as stream:
        await exchange(stream, b"before")
        link.half_close()
        assert await stream.receive_some() == b""


async def test_half_an_end_while_more_is_on_its_way() -> None:
    """A network asks nobody whether they are done: what still waited for the part behind is lost."""

    async def read_nothing(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, read_nothing, 0, host="127.0.0.1"))
        connect = partial(trio.open_tcp_stream, "127.0.0.1", listener.socket.getsockname()[1])
        async with (
            open_link(connect, random.Random(1)) as link,  # noqa: S311
            await trio.open_tcp_stream("127.0.0.1", link.port) as stream,
        ):
            with trio.move_on_after(0.2):  # until every buffer is full
                while True:
                    await stream.send_all(bytes(1 << 20))
            link.half_close()
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_delay_is_paid_both_ways_and_hides_nobody(autojump_clock: MockClock) -> None:
    """A byte comes back no sooner than after both ways, and the part behind sees the address that it came from."""
    sources: list[str] = []

    async def echo(stream: trio.SocketStream) -> None:
        sources.append(stream.socket.getpeername()[0])
        async with stream:
            while received := await stream.receive_some():
                await stream.send_all(received)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        async with open_delay(listener.socket.getsockname()[1], 0.03) as port:
            begun = trio.current_time()
            async with await trio.open_tcp_stream("127.0.0.1", port, local_address="127.1.0.9") as stream:
                assert await exchange(stream, b"there and back") == b"there and back"
            assert trio.current_time() >= begun + 0.06
        nursery.cancel_scope.cancel()
    assert sources == ["127.1.0.9"]


def test_a_delay_ends_with_the_input_of_its_program() -> None:
    """Whoever started it may be killed: then its pipe closes."""
    command = (sys.executable, "-m", "chaos.proxy", "1", "0.03")
    ended = subprocess.run(command, input=b"", check=True, capture_output=True, timeout=60)
    assert int(ended.stdout) > 0
