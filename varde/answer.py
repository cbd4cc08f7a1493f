"""One value that somebody waits for and somebody else sets, once."""

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Answer(Generic[T]):
    """Set it from anywhere in the loop; `wait` raises when it was set to an exception."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._value: list[T | Exception] = []

    def set(self, value: T | Exception) -> None:
        """Answer, unless it is answered already."""
        if not self._value:
            self._value.append(value)
            self._event.set()

    async def wait(self) -> T:
        """Return the value. Without a deadline of its own: whoever sets it promises to, or the client ends."""
        await self._event.wait()
        (value,) = self._value
        if isinstance(value, Exception):
            raise value
        return value
