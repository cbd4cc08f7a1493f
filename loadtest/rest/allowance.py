"""How often callers of one source address sign in: as often as the API lets one network, and a little less."""

from collections.abc import Callable
from typing import Final

_BURST: Final = 40.0
_PER_SECOND: Final = 0.3
"""A third of the API's own figures (VARDE_SIGN_IN_BURST and one a second): several workers may share an address."""
_SECOND_NS: Final = 1_000_000_000


class SignInAllowance:
    """A token bucket for each source address."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._left: dict[str, tuple[float, int]] = {}

    def spend(self, source: str, tokens: float) -> bool:
        """Take tokens of an address. Whether there were enough."""
        now_ns = self._now_ns()
        left, at_ns = self._left.get(source, (_BURST, now_ns))
        left = min(_BURST, left + (now_ns - at_ns) / _SECOND_NS * _PER_SECOND)
        enough = left >= tokens
        self._left[source] = (left - tokens if enough else left, now_ns)
        return enough
