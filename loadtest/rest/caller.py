"""One user of the API: it makes one request at a time, whenever one is due."""

from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.event import Event

from loadtest.ledger.clock import RunClock
from loadtest.ledger.ledger import Ledger
from loadtest.rest.client import ApiClient
from loadtest.rest.journey import Journey
from loadtest.rest.person import Person
from loadtest.rest.request import Reply, Request, Unanswered, judge, read


class _Stopped(BaseException):
    """The user is to end; nothing on the way may take it for a fault."""


class Turns(Protocol):
    """Where requests that are due wait for callers, and idle callers for requests."""

    def take(self, caller: "Caller") -> int | None:
        """Return when the oldest one was due; None leaves the caller among the idle."""

    def forget(self, caller: "Caller") -> None:
        """The caller takes no more."""


class Caller:
    """`live` lasts as long as the user does. `draw` gives its next request, or the journey that it goes on."""

    def __init__(
        self,
        person: Person,
        client: ApiClient,
        draw: Callable[[Person], Request | Journey],
        turns: Turns,
        *,
        ledger: Ledger,
        clock: RunClock,
    ) -> None:
        self._person, self._client, self._draw, self._turns = person, client, draw, turns
        self._ledger, self._clock = ledger, clock
        self._woken = Event()
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
                self._serve(self._wait_turn())
        except _Stopped:
            pass
        finally:
            self._living = None
            self._turns.forget(self)
            self._client.close()

    def stop(self) -> None:
        """End `live`, also in the midst of a request, which then counts as unfinished."""
        living = self._living
        if living is not None and living is not gevent.getcurrent():
            living.kill(_Stopped, block=False)

    def wake(self) -> None:
        """Something is due."""
        self._woken.set()

    def _wait_turn(self) -> int:
        while True:
            self._woken.clear()
            intended_ns = self._turns.take(self)
            if intended_ns is not None:
                return intended_ns
            self._woken.wait()  # as long as nothing is due; `stop` ends it

    def _serve(self, intended_ns: int) -> None:
        request = self._next_request()
        sent_ns = self._clock.now_ns()
        failure: str | None = "unfinished"
        try:
            reply = self._client.ask(request)
            failure = judge(request, reply)
        except Unanswered as fault:
            failure = str(fault)
        finally:
            # Also when the user is stopped: whoever waited is not forgotten.
            self._ledger.under_way -= 1
            self._ledger.request(request.name, intended_ns, sent_ns, failure)
        self._go_on(request, None if failure else reply)

    def _next_request(self) -> Request:
        if self._next is not None:
            return self._next
        drawn = self._draw(self._person)
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
