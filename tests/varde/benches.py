"""A link with a tiny relay at its other end, and an ear for what it tells."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import trio

from tests.cast import alice_laptop
from tests.varde.parties import memory_store, party
from tests.varde.wires import Script, TinyRelay
from varde.device import DeviceKeys
from varde.errors import VardeError
from varde.line import Line
from varde.link import Link
from varde.rest import Rest
from varde_contract import frames as f
from varde_contract.noise import KeyPair


class Ear:
    """What the link tells."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.frames: list[f.ServerFrame] = []
        self.downs: list[tuple[str, float | None]] = []
        self.news = trio.Event()

    def up(self, line: Line) -> None:
        """Welcome has come."""
        self.lines.append(line)
        self._stir()

    def take(self, frames: Sequence[f.ServerFrame]) -> None:
        """These came."""
        self.frames.extend(frames)
        self._stir()

    def down(self, why: str, retry_in_s: float | None) -> None:
        """It is over."""
        self.downs.append((why, retry_in_s))
        self._stir()

    async def wait_up(self, count: int) -> None:
        """Until so many connections came about."""
        while len(self.lines) < count:
            await self.news.wait()

    def _stir(self) -> None:
        self.news.set()
        self.news = trio.Event()


class Bench:
    """A link with a tiny relay at its other end."""

    def __init__(self, nursery: trio.Nursery, scripts: tuple[Script, ...]) -> None:
        self.ear = Ear()
        self.relay = TinyRelay(nursery, *scripts)
        self.store = memory_store()
        keys = DeviceKeys(party(alice_laptop).certificate, KeyPair.generate().private_bytes())
        self.link = Link(self.store, cast("Rest", self.relay), keys, self.ear, dial=self.relay.dial)
        self.end: VardeError | None = None
        self.ended = trio.Event()

    async def run(self) -> None:
        """The link's life."""
        self.end = await self.link.run()
        self.ended.set()


@asynccontextmanager
async def linked(*scripts: Script) -> AsyncIterator[Bench]:
    """A link that runs for the block, against these scripts."""
    async with trio.open_nursery() as nursery:
        bench = Bench(nursery, scripts)
        nursery.start_soon(bench.run)
        yield bench
        nursery.cancel_scope.cancel()
