"""When a user comes back after a connection has ended, as docs/protocol.md, section 9, says."""

from random import Random
from typing import Final

from loadtest.client.protocol import Ending
from varde_contract.close_codes import CloseCode

FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 5.0
"""A connection that lived this long was a good one: the next try starts from a short pause again."""
_DOUBLINGS: Final = 16
_FOR_GOOD: Final = range(4_100, 4_200)


def wants_ticket(ending: Ending) -> bool:
    """Whether a new ticket is all that the client lacks."""
    return ending.code == str(int(CloseCode.TICKET_EXPIRED))


def comes_back(ending: Ending) -> bool:
    """Whether the same client may connect again unchanged."""
    return not (ending.code.isdecimal() and int(ending.code) in _FOR_GOOD)


def pause_after(ending: Ending, attempt: int, dice: Random) -> float:
    """Return seconds: anything from zero to a bound that doubles with each attempt, or what the server asked for."""
    bound = min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, _DOUBLINGS))
    return max(dice.uniform(0, bound), ending.retry_after_s)
