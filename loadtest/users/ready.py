"""Users that may be asked to send: a random one is picked, one is added or removed, in the same time however
many.
"""

from random import Random
from typing import Generic, Protocol, TypeVar


class Placed(Protocol):
    """What can be in such a crowd. `place` is the crowd's to write; -1 is nowhere."""

    place: int


P = TypeVar("P", bound=Placed)


class ReadyCrowd(Generic[P]):
    """A set that one can draw from."""

    def __init__(self, dice: Random) -> None:
        self._chance = dice.random
        self._members: list[P] = []

    def __len__(self) -> int:
        return len(self._members)

    def pick(self) -> P | None:
        """Return any of them; None when there is none."""
        members = self._members
        return members[int(self._chance() * len(members))] if members else None

    def add(self, member: P) -> None:
        """Let it be picked, unless it is there."""
        if member.place < 0:
            member.place = len(self._members)
            self._members.append(member)

    def remove(self, member: P) -> None:
        """Let it be picked no more, if it is there: the last one takes its place."""
        place, last = member.place, self._members[-1] if self._members else None
        if place < 0 or last is None:
            return
        self._members[place], last.place = last, place
        self._members.pop()
        member.place = -1
