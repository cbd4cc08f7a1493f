"""The table of void tickets whose time has not passed: in memory, one per relay node."""

from domain.people.model import Revocation
from varde_contract.ids import DeviceId


class Revocations:
    """The latest word on each device. It only ever grows stricter, in whatever order the words come."""

    def __init__(self) -> None:
        self._by_device: dict[DeviceId, Revocation] = {}

    def note(self, revocation: Revocation) -> None:
        """Take one in."""
        known = self._by_device.get(revocation.device)
        if known is not None:
            not_before_ms = max(known.not_before_ms, revocation.not_before_ms)
            revocation = Revocation(revocation.device, not_before_ms, known.final or revocation.final)
        self._by_device[revocation.device] = revocation

    def find(self, device: DeviceId, issued_ms: int) -> Revocation | None:
        """Return what voids a ticket of `device` issued at `issued_ms`.

        The same millisecond counts as before: a ticket must not outlive the whitelist it was made from.
        """
        known = self._by_device.get(device)
        if known is None or (issued_ms > known.not_before_ms and not known.final):
            return None
        return known

    def forget_before(self, not_before_ms: int) -> None:
        """Drop what is older than any ticket that is still in time: a table must not grow for ever."""
        self._by_device = {
            device: known for device, known in self._by_device.items() if known.not_before_ms >= not_before_ms
        }

    def __len__(self) -> int:
        return len(self._by_device)
