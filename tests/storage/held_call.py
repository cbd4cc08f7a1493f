"""A call that stays on the asyncio island until something happens to it."""

import asyncio

import trio

from storage.island import Island


class HeldCall:
    """A coroutine function that stays on the asyncio side until cancelled or let go, and records what happens to it."""

    def __init__(self, island: Island) -> None:
        self._island = island
        self.begun = trio.Event()
        self.swallows_cancel = False
        self.ended = False
        self.let_go = asyncio.Event()

    async def __call__(self) -> str:
        """Stay."""
        self._island.push(self.begun.set)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            if not self.swallows_cancel:
                raise
        finally:
            for _ in range(10):  # whoever does not wait for the end sees `ended` too early
                await asyncio.sleep(0)
            self.ended = True
        return "finished all the same"
