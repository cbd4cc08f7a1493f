"""Who a caller is: a seat of the crowd, with what its own device would know."""

from collections.abc import Sequence

from loadtest.crowd.belongings import address_of, signing_key
from loadtest.crowd.crowd import Crowd, Room
from loadtest.rest.keys import signed_fallback_key, signed_one_time_key
from varde_contract.ids import DeviceId
from varde_contract.rest.people import SignedKey


class Person:
    """One device's owner."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self.number = number
        self.seat = crowd.seats[number]
        self.claims: dict[DeviceId, int] = {}
        """How often keys of a device were claimed: the API allows each pair ten an hour."""
        self.codes = 0
        """How often a code was asked for: the API mails an address five an hour."""

    @property
    def address(self) -> str:
        """The e-mail address it signs in with."""
        return address_of(self.seat.device)

    @property
    def rooms(self) -> Sequence[Room]:
        """The conversations it is in."""
        return [self._crowd.rooms[room] for room in self.seat.rooms]

    def others(self, room: Room) -> list[DeviceId]:
        """Return the devices of the others in a room."""
        return [self._crowd.seats[member].device for member in room.members if member != self.number]

    def draw_one_time_key(self) -> SignedKey:
        """Return its one key that it uploads again and again: there is at most one more of it than there was."""
        return signed_one_time_key(self.seat.device, signing_key(self.seat.noise_private), self.seat.noise_private)

    def draw_fallback_key(self) -> SignedKey:
        """Return a new fallback key, signed."""
        return signed_fallback_key(self.seat.device, signing_key(self.seat.noise_private))
