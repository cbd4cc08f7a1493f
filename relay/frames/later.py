"""What becomes of a frame: done, refused, or to be done later because a store has to be waited for."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from varde_contract.refusals import Refused

Later: TypeAlias = Callable[[], Awaitable[Refused | None]]
"""What is left to do. May raise StoreUnavailable."""

Outcome: TypeAlias = Refused | Later | None
"""Most frames need only what is in memory: they are done by plain functions, in the middle of the reactor's pass."""
