"""The bus double keeps the same promises as the real ones."""

from collections.abc import Awaitable, Callable

import pytest

from tests.doubles.text_bus import Wire
from tests.storage.bus.contract import CONTRACT, BusNetwork


@pytest.mark.parametrize("promise", CONTRACT)
async def test_the_double_keeps_the_contract(promise: Callable[[BusNetwork], Awaitable[None]]) -> None:
    """The promise, as its own words say, is kept in memory."""
    await promise(Wire())
