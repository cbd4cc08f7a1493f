"""The users of the API in one worker process: what is due goes to whoever has been idle longest."""

import random
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import gevent
from gevent.event import Event

from loadtest.crowd.crowd import Crowd
from loadtest.ledger.clock import RunClock
from loadtest.ledger.ledger import Ledger
from loadtest.rest.client import ApiClient, Reply, Request, Unanswered, find_origin, judge, read
from loadtest.rest.journeys import SIGN_INS, Journey, LetterBox, sign_in, sign_up
from loadtest.rest.operations import Person, draw_request

SIGN_IN_SHARE: Final = 0.01
"""Of draws that begin a journey; one has four requests or eight, so that they are about six in a hundred of all."""
_SIGN_UP_SHARE: Final = 0.5
_CODES: Final = 4  # of one address. The API mails five an hour
_BURST: Final = 40.0
_PER_SECOND: Final = 0.3
"""A third of the API's own figures (VARDE_SIGN_IN_BURST and one a second): several workers may share an address."""
_SECOND_NS: Final = 1_000_000_000


class SignInAllowance:
    """How often users of one source address sign in: a token bucket for each, below the API's limit for a network."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._left: dict[str, tuple[float, int]] = {}

    def spend(self, source: str, tokens: float) -> bool:
        """Take tokens of an address. Whether there were enough."""
        now_ns = self._now_ns()
        left, at_ns = self._left.get(source, (_BURST, now_ns))
        left = min(_BURST, left + (now_ns - at_ns) / _SECOND_NS * _PER_SECOND)
        enough = left >= tokens
        self._left[source] = (left - tokens if enough else left, now_ns)
        return enough


class ApiUsers:
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
        self.ledger, self.clock = ledger, clock
        self._crowd = crowd
        self._origin = find_origin(crowd.api_url)
        self._letters = None if outbox is None else LetterBox(outbox)
        self._sign_in_share = sign_in_share
        self._allowance = SignInAllowance(clock.now_ns)
        self._dice = random.Random(seed)  # noqa: S311 - it spreads load
        self._due: deque[int] = deque()
        self._idle: dict[ApiUser, None] = {}

    def open(self, seat: int) -> "ApiUser":
        """Return the user in a seat, whose `live` is to be run."""
        client = ApiClient(self._origin, self._source(seat), authority=self._crowd.authority)
        return ApiUser(Person(self._crowd, seat), client, self)

    def fire(self, intended_ns: int) -> None:
        """A request is due. Waits for nothing."""
        self.ledger.under_way += 1
        self._due.append(intended_ns)
        self._wake_one()

    @property
    def waiting(self) -> int:
        """Requests that are due and for which nobody is idle."""
        return len(self._due)

    def take(self, user: "ApiUser") -> int | None:
        """Return when the oldest request was due; None leaves the user among the idle."""
        if self._due:
            return self._due.popleft()
        self._idle[user] = None
        return None

    def forget(self, user: "ApiUser") -> None:
        """The user takes no more: if it had been woken, somebody else is."""
        if user in self._idle:
            del self._idle[user]
        elif self._due:
            self._wake_one()

    def _wake_one(self) -> None:
        if self._idle:
            longest = next(iter(self._idle))
            del self._idle[longest]
            longest.woken.set()

    def _source(self, seat: int) -> str | None:
        return self._origin.source_of(seat, len(self._crowd.seats))

    def draw(self, person: Person) -> Request | Journey:
        """Return what somebody asks next: one thing, or the beginning of a journey."""
        letters = self._letters
        if letters is None or self._dice.random() >= self._sign_in_share:
            return draw_request(person, self._dice)
        if not self._allowance.spend(self._source(person.number) or "", SIGN_INS):
            return draw_request(person, self._dice)
        if person.codes < _CODES and self._dice.random() >= _SIGN_UP_SHARE:
            person.codes += 1
            return sign_in(person.address, letters)
        return sign_up(letters)


class _Stopped(BaseException):
    """The user is to end; nothing on the way may take it for a fault."""


class ApiUser:
    """Makes one request at a time, whenever one is due. `live` lasts as long as the user does."""

    def __init__(self, person: Person, client: ApiClient, users: ApiUsers) -> None:
        self._person, self._client, self._users = person, client, users
        self.woken = Event()  # something is due
        self._journey: Journey | None = None
        self._next: Request | None = None
        self._living: gevent.Greenlet | None = None

    @property
    def seat(self) -> int:
        """Its number in the crowd."""
        return self._person.number

    def live(self) -> None:
        """Make requests until stopped."""
        self._living = gevent.getcurrent()
        try:
            while True:
                self.woken.clear()
                intended_ns = self._users.take(self)
                if intended_ns is None:
                    self.woken.wait()  # as long as nothing is due; `stop` ends it
                else:
                    self._serve(intended_ns)
        except _Stopped:
            pass
        finally:
            self._living = None
            self._users.forget(self)
            self._client.close()

    def stop(self) -> None:
        """End `live`, also in the midst of a request, which then counts as unfinished."""
        living = self._living
        if living is not None and living is not gevent.getcurrent():
            living.kill(_Stopped, block=False)

    def _serve(self, intended_ns: int) -> None:
        ledger, clock = self._users.ledger, self._users.clock
        request = self._next or self._draw()
        sent_ns = clock.now_ns()
        failure: str | None = "unfinished"
        try:
            reply = self._client.ask(request)
            failure = judge(request, reply)
        except Unanswered as fault:
            failure = str(fault)
        finally:
            # Also when the user is stopped: whoever waited is not forgotten.
            ledger.under_way -= 1
            ledger.request(request.name, intended_ns, sent_ns, failure)
        self._go_on(request, None if failure else reply)

    def _draw(self) -> Request:
        drawn = self._users.draw(self._person)
        if isinstance(drawn, Request):
            return drawn
        self._journey = drawn
        return next(drawn)

    def _go_on(self, request: Request, reply: Reply | None) -> None:
        """Find out what the journey asks next; it ends at a reply that was a failure."""
        journey, self._next = self._journey, None
        if journey is None:
            return
        if reply is None:
            journey.close()
            self._journey = None
            return
        try:
            self._next = journey.send(read(request, reply))
        except StopIteration:
            self._journey = None
