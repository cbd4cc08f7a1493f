"""Stages that several scenarios share: people arrive, the system warms up, things are held as they are."""

from typing import Final

from loadtest.scenarios.plan import Stage

SPAWN_PER_SECOND: Final = 250.0
"""How fast people come where their coming is not what is looked at."""
_CALM_SECONDS: Final = 3.0


def arrive(users: int) -> Stage:
    """Everybody connects, at a pace that costs nobody anything, and a moment passes."""
    seconds = users / SPAWN_PER_SECOND + _CALM_SECONDS
    return Stage(name="arrive", seconds=seconds, users=users, spawn_per_second=SPAWN_PER_SECOND)


def warm(users: int, rate: float, seconds: float) -> Stage:
    """The load of the judged stage, not judged: caches fill, plans are made, the collector finds its pace."""
    return Stage(name="warm", seconds=seconds, users=users, spawn_per_second=SPAWN_PER_SECOND, messages_per_second=rate)


def hold(users: int, rate: float, seconds: float, name: str = "hold") -> Stage:
    """The same load, judged."""
    return Stage(
        name=name,
        seconds=seconds,
        users=users,
        spawn_per_second=SPAWN_PER_SECOND,
        messages_per_second=rate,
        judged=True,
    )


def held(users: int, rate: float, seconds: float, warm_seconds: float) -> tuple[Stage, ...]:
    """Everybody comes, the load warms up, and is judged."""
    return arrive(users), warm(users, rate, warm_seconds), hold(users, rate, seconds)
