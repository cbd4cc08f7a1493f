"""What came, by receiver and stream, so that every hole, repeat and disorder is known exactly.

Whether a hole is a loss is decided when all workers' books lie side by side.
"""

from msgspec import Struct

from loadtest.ledger.pages import ArrivalPage

_Key = tuple[int, int, int]
"""Receiver, room, sender."""


class _Irregular(Struct):
    holes: set[int]
    duplicated: int = 0
    disordered: int = 0


class Incoming:
    """The arrivals of this worker's receivers."""

    def __init__(self) -> None:
        self._highest: dict[_Key, int] = {}
        # Apart, because hardly any stream has one and there may be a million streams.
        self._irregular: dict[_Key, _Irregular] = {}

    def receive(self, receiver: int, room: int, sender: int, seq: int) -> bool:
        """Book one message. Whether it came for the first time."""
        key = (receiver, room, sender)
        highest = self._highest.get(key, 0)
        if seq == highest + 1:
            self._highest[key] = seq
            return True
        return self._receive_irregular(key, highest, seq)

    def _receive_irregular(self, key: _Key, highest: int, seq: int) -> bool:
        irregular = self._irregular.setdefault(key, _Irregular(set()))
        if seq > highest:
            irregular.holes.update(range(highest + 1, seq))
            self._highest[key] = seq
        elif seq in irregular.holes:
            irregular.holes.remove(seq)
            irregular.disordered += 1
        else:
            irregular.duplicated += 1
            return False
        return True

    def pages(self) -> tuple[ArrivalPage, ...]:
        """Return all arrivals."""
        return tuple(self._page(key, highest) for key, highest in self._highest.items())

    def _page(self, key: _Key, highest: int) -> ArrivalPage:
        odd = self._irregular.get(key)
        if odd is None:
            return ArrivalPage(*key, highest)
        return ArrivalPage(*key, highest, tuple(sorted(odd.holes)), odd.duplicated, odd.disordered)
