"""The users of the API in one worker process: what is due goes to whoever has been idle longest."""

import random
from collections import deque
from pathlib import Path
from typing import Final

from loadtest.crowd.crowd import Crowd
from loadtest.ledger.clock import RunClock
from loadtest.ledger.ledger import Ledger
from loadtest.rest.allowance import SignInAllowance
from loadtest.rest.caller import Caller
from loadtest.rest.client import ApiClient
from loadtest.rest.journey import SIGN_INS, Journey, sign_in, sign_up
from loadtest.rest.mix import draw_request
from loadtest.rest.origin import find_origin
from loadtest.rest.outbox import LetterBox
from loadtest.rest.person import Person
from loadtest.rest.request import Request

SIGN_IN_SHARE: Final = 0.01
"""Of draws that begin a journey; one has four requests or eight, so that they are about six in a hundred of all."""
_SIGN_UP_SHARE: Final = 0.5
_CODES: Final = 4
"""Of one address. The API mails five an hour."""


class Callers:
    """Opens them, and gives them their turns. Raises CrowdError when the API's host cannot be found.

    `outbox`: the folder to which a fresh stack writes its letters. Without one nobody signs in, because no code can be
    read, and nobody refreshes: the tokens in the crowd's file would be void for the next run.
    """

    def __init__(
        self,
        crowd: Crowd,
        ledger: Ledger,
        clock: RunClock,
        outbox: Path | None = None,
        *,
        seed: int = 0,
        sign_in_share: float = SIGN_IN_SHARE,
    ) -> None:
        self._crowd, self._ledger, self._clock = crowd, ledger, clock
        self._origin = find_origin(crowd.api_url, crowd.authority)
        self._letters = None if outbox is None else LetterBox(outbox)
        self._sign_in_share = sign_in_share
        self._allowance = SignInAllowance(clock.now_ns)
        self._dice = random.Random(seed)  # noqa: S311 - it spreads load
        self._due: deque[int] = deque()
        self._idle: dict[Caller, None] = {}

    def open(self, seat: int) -> Caller:
        """Return the caller of a seat, whose `live` is to be run."""
        client = ApiClient(self._origin, self._source(seat))
        person = Person(self._crowd, seat)
        return Caller(person, client, self._draw, self, ledger=self._ledger, clock=self._clock)

    def fire(self, intended_ns: int) -> None:
        """A request is due. Waits for nothing."""
        self._ledger.under_way += 1
        self._due.append(intended_ns)
        self._wake_one()

    @property
    def waiting(self) -> int:
        """Requests that are due and for which nobody is idle."""
        return len(self._due)

    def take(self, caller: Caller) -> int | None:
        """Return when the oldest request was due; None leaves the caller among the idle."""
        if self._due:
            return self._due.popleft()
        self._idle[caller] = None
        return None

    def forget(self, caller: Caller) -> None:
        """The caller takes no more: if it had been woken, somebody else is."""
        if caller in self._idle:
            del self._idle[caller]
        elif self._due:
            self._wake_one()

    def _wake_one(self) -> None:
        if self._idle:
            longest = next(iter(self._idle))
            del self._idle[longest]
            longest.wake()

    def _source(self, seat: int) -> str | None:
        return self._origin.source_of(seat, len(self._crowd.seats))

    def _draw(self, person: Person) -> Request | Journey:
        if self._letters is not None and self._dice.random() < self._sign_in_share:
            source = self._source(person.number) or ""
            if self._allowance.spend(source, SIGN_INS):
                return self._draw_journey(person, self._letters)
        return draw_request(person, self._dice)

    def _draw_journey(self, person: Person, letters: LetterBox) -> Journey:
        if person.codes < _CODES and self._dice.random() >= _SIGN_UP_SHARE:
            person.codes += 1
            return sign_in(person.address, letters)
        return sign_up(letters)
