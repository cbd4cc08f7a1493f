"""What the others have of what I said last: delivered and read marks, told once for each step.

Nothing is shown here; it only decides what is worth a line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from varde.events import Receipt
from varde_contract.ids import ProfileId


@dataclass(slots=True)
class Marks:
    """The positions of the others, compared with the number of my last message."""

    last: int = 0
    _delivered: dict[ProfileId, int] = field(default_factory=dict)
    _read: dict[ProfileId, int] = field(default_factory=dict)
    _told: set[tuple[ProfileId, bool]] = field(default_factory=set)

    def sent(self, seq: int) -> None:
        """My last message has this number: everything is to be told anew."""
        self.last = seq
        self._told.clear()

    def take(self, receipt: Receipt) -> bool:
        """Take a receipt; True when it is news about my last message, worth showing once."""
        positions = self._read if receipt.read else self._delivered
        positions[receipt.profile] = max(receipt.upto, positions.get(receipt.profile, 0))
        if not self.last or receipt.upto < self.last:
            return False
        news = (receipt.profile, receipt.read)
        # Read is more than delivered: the lesser one is no news after it.
        if news in self._told or (receipt.profile, True) in self._told:
            return False
        self._told.add(news)
        return True

    @property
    def read(self) -> Mapping[ProfileId, int]:
        """How far each has read, as far as they let know."""
        return self._read
