"""One entry of the catalogue: its name, what it shows, and how its plan is made from what somebody asks for."""

from collections.abc import Callable

from msgspec import Struct

from loadtest.scenarios.plan import Ask, Plan


class AskError(ValueError):
    """The scenario cannot be run with these choices; the text says which and why."""


class Scenario(Struct, frozen=True, kw_only=True):
    """A load shape with a name. `plan` raises AskError."""

    name: str
    title: str
    shows: str
    """In a sentence or two: what one knows after the run."""
    plan: Callable[[Ask], Plan]


class Amounts(Struct, frozen=True, kw_only=True):
    """How much of everything. A `rate` of 0 means that the scenario offers nothing."""

    users: int
    rate: float
    """Messages (or requests) per second."""
    seconds: float
    """Of the longest judged stage."""


def fill(ask: Ask, full: Amounts, smoke: Amounts) -> Amounts:
    """Return the scenario's amounts, its small ones for a smoke run, with what was asked for put in their places."""
    default = smoke if ask.smoke else full
    if ask.rate is not None and not default.rate:
        raise AskError("this scenario offers no messages of its own, so a rate has no meaning here")
    return Amounts(
        users=_at_least(2, "users", default.users if ask.users is None else ask.users),
        rate=default.rate if ask.rate is None else _positive("rate", ask.rate),
        seconds=default.seconds if ask.seconds is None else _positive("seconds", ask.seconds),
    )


def _at_least(least: int, name: str, asked: int) -> int:
    if asked < least:
        raise AskError(f"{name} must be {least} or more")
    return asked


def _positive(name: str, asked: float) -> float:
    if not 0 < asked < float("inf"):
        raise AskError(f"{name} must be more than 0")
    return asked
