"""People who exist only for a null server: their keys, tickets and pairs, made in memory.

Nobody checks their tickets. They are as long as real ones, since that is what the generator has to send.
"""

import os
import time
from typing import Final
from uuid import UUID

from loadtest.crowd.crowd import Crowd, Room, Seat
from varde_contract.ids import ENTROPY_BYTES, AccountId, ConversationId, DeviceId, ProfileId, uuid7
from varde_contract.noise import KeyPair

_TICKET: Final = "null." + "t" * 400
_KEY_BYTES: Final = 32
_DAY_MS: Final = 86_400_000


def make_crowd(users: int, relay_url: str, relay_key: bytes) -> Crowd:
    """Return `users` devices in pairs, one more when they are odd."""
    now_ms = time.time_ns() // 1_000_000
    pairs = [(first, first + 1) for first in range(0, users, 2)]
    return Crowd(
        relay_url=relay_url,
        api_url="",
        relay_key=relay_key,
        payload_key=os.urandom(_KEY_BYTES),
        tickets_expire_ms=now_ms + _DAY_MS,
        seats=tuple(_seat(now_ms, room) for room, members in enumerate(pairs) for _ in members),
        rooms=tuple(Room(ConversationId(_new_id(now_ms)), members, 1, group=False) for members in pairs),
    )


def _seat(now_ms: int, room: int) -> Seat:
    return Seat(
        account=AccountId(_new_id(now_ms)),
        profile=ProfileId(_new_id(now_ms)),
        device=DeviceId(_new_id(now_ms)),
        noise_private=KeyPair.generate().private_bytes(),
        ticket=_TICKET,
        access_token="",
        rooms=(room,),
    )


def _new_id(now_ms: int) -> UUID:
    return uuid7(now_ms, os.urandom(ENTROPY_BYTES))
