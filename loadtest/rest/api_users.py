"""The users of the API in one worker process: what is due goes to whoever has been idle longest."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import gevent
from gevent.queue import Queue

from loadtest.crowd.crowd import Crowd
from loadtest.ledger.clock import SECOND_NS, RunClock
from loadtest.ledger.ledger import Ledger
from loadtest.rest.client import ApiClient, Request, RequestFailed
from loadtest.rest.operations import SIGN_INS, Journey, LetterBox, Person, draw_request, sign_in, sign_up
from loadtest.users.target import find_target

SIGN_IN_SHARE: Final = 0.01
"""Of draws that begin a journey; one has four requests or eight, so that they are about six in a hundred of all."""
_SIGN_UP_SHARE: Final = 0.5
_CODES: Final = 4  # of one address. The API mails five an hour
_BURST: Final = 40.0
# A third of the API's own figures (VARDE_SIGN_IN_BURST and one a second): several workers may share an address.
_PER_SECOND: Final = 0.3


class SignInAllowance:
    """How often users of one source address sign in: a token bucket for each, below the API's limit for a network."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._left: dict[str, tuple[float, int]] = {}

    def spend(self, source: str, tokens: float) -> bool:
        """Take tokens of an address. Whether there were enough."""
        now_ns = self._now_ns()
        left, at_ns = self._left.get(source, (_BURST, now_ns))
        left = min(_BURST, left + (now_ns - at_ns) / SECOND_NS * _PER_SECOND)
        enough = left >= tokens
        self._left[source] = (left - tokens if enough else left, now_ns)
        return enough


class ApiUsers:
    """Opens them, and gives them their turns. Raises CouldNotRun when the API's host cannot be found.

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
        self.ledger, self.clock = ledger, clock
        self._crowd = crowd
        self._origin = find_target(crowd.api_url, "API")
        self._letters = None if outbox is None else LetterBox(outbox)
        self._sign_in_share = sign_in_share
        self._allowance = SignInAllowance(clock.now_ns)
        self._dice = random.Random(seed)  # noqa: S311 - it spreads load
        self.due = Queue[int]()  # when each request was due that nobody has taken; the user idle longest gets it

    def open(self, seat: int) -> "ApiUser":
        """Return the user in a seat, whose `live` is to be run."""
        client = ApiClient(self._origin, self._source(seat), authority=self._crowd.authority)
        return ApiUser(Person(self._crowd, seat), client, self)

    def fire(self, intended_ns: int) -> None:
        """A request is due. Waits for nothing."""
        self.ledger.request_due()
        self.due.put_nowait(intended_ns)

    def _source(self, seat: int) -> str | None:
        return self._origin.source_of(seat, len(self._crowd.seats))

    def draw(self, person: Person) -> Journey:
        """Yield what somebody asks next: one thing, or all of a journey."""
        letters, dice = self._letters, self._dice
        if (
            letters is None
            or dice.random() >= self._sign_in_share
            or not self._allowance.spend(self._source(person.number) or "", SIGN_INS)
        ):
            yield draw_request(person, dice)
        elif person.codes < _CODES and dice.random() >= _SIGN_UP_SHARE:
            person.codes += 1
            yield from sign_in(person.address, letters)
        else:
            yield from sign_up(letters)


class ApiUser:
    """Makes one request at a time, whenever one is due. `live` lasts as long as the user does."""

    def __init__(self, person: Person, client: ApiClient, users: ApiUsers) -> None:
        self.seat = person.number  # its number in the crowd
        self._person, self._client, self._users = person, client, users
        self._living: gevent.Greenlet | None = None

    def live(self) -> None:
        """Make requests until stopped. A journey ends at the first that fails."""
        self._living = gevent.getcurrent()
        try:
            while True:
                journey, answer = self._users.draw(self._person), None
                with suppress(StopIteration, RequestFailed):
                    while True:
                        answer = self._ask(journey.send(answer), self._users.due.get())
        except gevent.GreenletExit:
            pass  # stopped
        finally:
            self._living = None
            self._client.close()

    def stop(self) -> None:
        """End `live`, also in the midst of a request, which then counts as unfinished."""
        if self._living is not None and self._living is not gevent.getcurrent():
            self._living.kill(block=False)

    def _ask(self, request: Request, intended_ns: int) -> Any:
        sent_ns, failure = self._users.clock.now_ns(), "unfinished"
        try:
            answer, failure = self._client.ask(request), ""
        except RequestFailed as fault:
            failure = str(fault)
            raise
        finally:
            # Also when the user is stopped: whoever waited is not forgotten.
            self._users.ledger.request(request.name, intended_ns, sent_ns, failure or None)
        return answer
