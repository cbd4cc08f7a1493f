"""The proxy as a program: what the load suite puts between users and nodes."""

import subprocess
import sys
import time
from functools import partial
from typing import Final

import trio

open_program = partial(subprocess.Popen[bytes], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
ONE_WAY: Final = 0.03
SOURCE: Final = "127.1.0.9"


async def test_a_round_trip_takes_as_long_as_was_asked() -> None:
    """Every byte comes back, no sooner than after both ways; and the part behind sees where it came from."""
    sources: list[str] = []

    async def echo(stream: trio.SocketStream) -> None:
        sources.append(stream.socket.getpeername()[0])
        async with stream:
            while received := await stream.receive_some():
                await stream.send_all(received)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        command = (sys.executable, "-m", "chaos.proxy", str(port), str(ONE_WAY))
        with open_program(command) as proxy:
            assert proxy.stdout is not None
            assert proxy.stdin is not None
            delayed = int(proxy.stdout.readline())
            async with await trio.open_tcp_stream("127.0.0.1", delayed, local_address=SOURCE) as stream:
                sent_at = time.monotonic()
                await stream.send_all(b"there and back")
                assert await stream.receive_some() == b"there and back"
                assert time.monotonic() - sent_at >= 2 * ONE_WAY
            proxy.stdin.close()  # with it, the program ends
        assert proxy.returncode == 0
        nursery.cancel_scope.cancel()
    assert sources == [SOURCE]
