"""One line of the SLO: a key of the result, and the most or the least that may stand there."""

from typing import Final

from msgspec import Struct

from loadtest.gate.keys import value_of
from loadtest.report.result import Objective

_DIGITS: Final = 4


class Bound(Struct, frozen=True, kw_only=True):
    """Exactly one of `at_most` and `at_least` is set: the goal. With `of`, they are shares of what stands there."""

    key: str
    at_most: float | None = None
    at_least: float | None = None
    floor: float | None = None
    """The hard floor: what may not be missed even where the goal may."""
    of: str | None = None

    @property
    def goal(self) -> float:
        """Whichever is set."""
        goal = self.at_least if self.at_most is None else self.at_most
        assert goal is not None
        return goal

    def holds(self, measured: float, limit: float) -> bool:
        """Whether a value is on the good side of a limit."""
        return measured >= limit if self.at_most is None else measured <= limit

    def judge(self, root: Struct) -> Objective:
        """Hold what `root` has at the key against the goal. What was not measured misses it."""
        whole = 1.0 if self.of is None else value_of(self.of, root)
        measured = value_of(self.key, root)
        if whole is None:
            measured, whole = None, 0.0
        limit, floor = self.goal * whole, None if self.floor is None else self.floor * whole
        return Objective(
            key=self.key,
            limit=limit,
            floor=floor,
            measured=measured,
            met=measured is not None and self.holds(measured, limit),
            words=self._words(measured, limit, floor),
            at_least=self.at_least is not None,
        )

    def _words(self, measured: float | None, limit: float, floor: float | None) -> str:
        goal = f"the goal is {'at least' if self.at_most is None else 'at most'} {number(limit)}"
        if self.of is not None:
            goal += f" ({number(self.goal)} of {self.of})"
        if measured is None:
            return f"{self.key}: nothing was measured; {goal}"
        if floor is None:
            return f"{self.key} is {number(measured)}; {goal}"
        stands = "holds" if self.holds(measured, floor) else "is broken"
        return f"{self.key} is {number(measured)}; {goal}, and the floor of {number(floor)} {stands}"


def number(value: float) -> str:
    """Return a number as a person writes it: no zeros behind the point, four digits where there are more."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 10**_DIGITS else f"{value:.{_DIGITS}g}"
