"""The tickets of a worker's users, and new ones from the API when a run outlasts them."""

import time
from collections.abc import Callable
from typing import Final

from loadtest.crowd.crowd import Crowd
from loadtest.users.target import find_target
from varde_contract.rest.people import RelayTicket

TICKET_SECONDS: Final = 84_600.0
"""How long a new one lasts beyond the old one at the least: a day, but for half an hour by which it is early."""
_OPERATION: Final = "POST /v1/relay/tickets"
_NEVER: Final = float("inf")
_EARLY_SECONDS: Final = 600.0
"""A new ticket is fetched so long before the old one ends, or up to three times as long: not by all at once."""
_SPREAD_SECONDS: Final = 1_200
_STRIDE: Final = 769
_AGAIN_SECONDS: Final = 30.0  # after a try that failed
_AFTERWARDS_SECONDS: Final = 300.0  # that a run may take beyond its plan
_MS: Final = 1_000


def may_renew(crowd: Crowd) -> bool:
    """Whether its users can fetch tickets: they have access tokens, and know where the API is."""
    return bool(crowd.api_url) and all(seat.access_token for seat in crowd.seats)


class Tickets:
    """Which ticket a seat has, and when it is time for another."""

    def __init__(self, crowd: Crowd, seconds: float, source_of: Callable[[int], str | None]) -> None:
        """`seconds` is how long the run will take: nobody fetches a ticket that is not needed."""
        self._crowd, self._source_of = crowd, source_of
        self._renewable = may_renew(crowd)
        self._renewed: dict[int, str] = {}
        self._due: dict[int, float] = {}  # where it is not as planned; 0 where the relay has refused the old one
        self._hopeless: set[int] = set()
        left = crowd.tickets_expire_ms / _MS - time.time()
        needed = left < seconds + _AFTERWARDS_SECONDS + _EARLY_SECONDS + _SPREAD_SECONDS
        self._ends_at = time.monotonic() + left if needed and self._renewable else _NEVER

    def of(self, seat: int) -> str:
        """Return the ticket that the seat has now."""
        return self._renewed.get(seat) or self._crowd.seats[seat].ticket

    def due_at(self, seat: int) -> float:
        """Return when its user should fetch another one, in monotonic seconds: never, for most."""
        return self._due.get(seat, self._ends_at - _EARLY_SECONDS - seat * _STRIDE % _SPREAD_SECONDS)

    def expire(self, seat: int) -> bool:
        """The relay says that the ticket has ended. Returns whether it makes sense to fetch another."""
        if not self._renewable or seat in self._hopeless:
            return False
        self._due[seat] = 0.0
        return True

    def renew(self, seat: int) -> None:
        """Ask the API, and wait for its answer. Without a good one, the seat keeps what it has."""
        ticket, refused = self._fetch(seat), self._due.get(seat) == 0
        self._due[seat] = _NEVER
        if ticket is not None:
            self._renewed[seat] = ticket
        elif refused:
            self._hopeless.add(seat)
        else:
            self._due[seat] = time.monotonic() + _AGAIN_SECONDS

    def _fetch(self, seat: int) -> str | None:
        # Hardly any run has need of it.
        from loadtest.rest.client import ApiClient, Request, RequestFailed  # noqa: PLC0415

        token = self._crowd.seats[seat].access_token
        request = Request(name=_OPERATION, token=token, answer=RelayTicket)
        client = ApiClient(
            find_target(self._crowd.api_url, "API"), self._source_of(seat), authority=self._crowd.authority
        )
        try:
            return str(client.ask(request).ticket)
        except RequestFailed:
            return None
        finally:
            client.close()
