"""Files of crowds for runs that never begin."""

import time
from pathlib import Path

from loadtest.crowd.crowd import Crowd, Room, Seat, write_crowd
from tests.ids import id_of
from varde_contract.ids import AccountId, ConversationId, DeviceId, ProfileId


def crowd_file(path: Path, *, port: int, expires_in_s: float = 3_600, seats: int = 10) -> Path:
    """Write a crowd of pairs whose relay is at a port of this machine."""
    pairs = [
        Room(ConversationId(id_of(number + 1)), (2 * number, 2 * number + 1), 1, group=False)
        for number in range(seats // 2)
    ]
    people = [_seat(number) for number in range(seats)]
    write_crowd(
        path,
        Crowd(
            relay_url=f"ws://127.0.0.1:{port}/v1/relay",
            api_url="",
            relay_key=bytes(32),
            payload_key=bytes(32),
            tickets_expire_ms=round((time.time() + expires_in_s) * 1000),
            seats=tuple(people),
            rooms=tuple(pairs),
        ),
    )
    return path


def _seat(number: int) -> Seat:
    name = id_of(number + 1)
    return Seat(AccountId(name), ProfileId(name), DeviceId(name), bytes(32), "", "", (number // 2,))
