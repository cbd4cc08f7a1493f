"""A crowd without a database behind it, for tests that need no real API."""

from loadtest.crowd.crowd import Crowd, Room, Seat
from tests.ids import id_of
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId


def a_seat(number: int) -> Seat:
    """Return a device with a token that nobody gave out."""
    ids = [id_of(number * 16 + kind) for kind in range(3)]
    account, profile, device = AccountId(ids[0]), ProfileId(ids[1]), DeviceId(ids[2])
    return Seat(account, profile, device, bytes((number + 1,)) * 32, "ticket", "A" * 86, (number // 2,))


def a_crowd(api_url: str, seats: int = 2) -> Crowd:
    """Return so many people in pairs."""
    return Crowd(
        relay_url="ws://127.0.0.1:1/",
        api_url=api_url,
        relay_key=bytes(32),
        payload_key=bytes(32),
        tickets_expire_ms=0,
        seats=tuple(map(a_seat, range(seats))),
        rooms=tuple(
            Room(ConversationId(id_of(1_000 + room)), (2 * room, 2 * room + 1), 1, group=False)
            for room in range(seats // 2)
        ),
    )
