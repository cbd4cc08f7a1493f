"""A plan as Locust understands it: how many users there are to be now."""

from collections.abc import Callable
from typing import Any, Final

from locust import LoadTestShape

PATIENCE_PER_SECOND: Final = 1_000_000.0
"""The rate at which nobody is started."""


class PlanShape(LoadTestShape):
    """Asks whoever follows the plan. None ends the test, as Locust has it."""

    abstract = True
    use_common_options = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.target: Callable[[], tuple[int, float] | None] = lambda: (0, PATIENCE_PER_SECOND)

    def tick(self) -> Any:
        """Return users and how many of them are started each second."""
        return self.target()


class RunShape(PlanShape):
    """The one that is given to a run; its parent is abstract so that a locustfile may import this file."""
