"""Callers against the API itself, a process over a real Postgres, with people who were seeded."""

import random
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from msgspec.structs import replace

from loadtest.crowd.crowd import Crowd, Order, run_seeding
from loadtest.ledger.ledger import Ledger, PayloadCipher
from loadtest.ledger.reports import Account, reconcile
from loadtest.ledger.run_time import RunClock
from loadtest.rest.client import ApiClient
from loadtest.rest.operations import MIX, ApiUsers, Journey, LetterBox, Person, sign_in, sign_up
from loadtest.users.target import find_target
from tests.api.program import run_program

PATIENCE = 60
SEATS = 6


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    """Where the API of `crowd` leaves its letters."""
    return tmp_path / "outbox"


@pytest.fixture
def crowd(tmp_path: Path, database_url: str) -> Iterator[Crowd]:
    """Three pairs, and a running API with the limits of production."""
    with run_program(tmp_path, database_url, VARDE_SIGN_IN_BURST="120") as program:
        yield run_seeding(
            Order(
                seats=SEATS,
                relay_url="ws://127.0.0.1:1/",
                api_url=program.address,
                database_url=database_url,
                keys=str(tmp_path / "keys"),
                out=str(tmp_path / "crowd"),
            )
        )


def call(crowd: Crowd, count: int, outbox: Path | None, share: float) -> Account:
    """Let everybody together make so many requests, all due at once, and account for them."""
    clock = RunClock()
    ledger = Ledger(clock, PayloadCipher(crowd.payload_key))
    callers = ApiUsers(crowd, ledger, clock, outbox, sign_in_share=share)
    everybody = [callers.open(seat) for seat in range(len(crowd.seats))]
    living = [gevent.spawn(caller.live) for caller in everybody]
    for _ in range(count):
        callers.fire(clock.now_ns())
    with gevent.Timeout(PATIENCE):
        while ledger.pending:
            gevent.sleep(0.01)  # the ledger says when it is settled, not that it will be
    for caller in everybody:
        caller.stop()
    assert len(gevent.joinall(living, timeout=PATIENCE)) == len(living)
    return reconcile([ledger.report()], crowd.rooms)


def walk(client: ApiClient, journey: Journey) -> list[str]:
    """Make the requests of a journey, none of which may fail, and return their names."""
    made, request = [], next(journey)
    while True:
        made.append(request.name)
        try:
            request = journey.send(client.ask(request))
        except StopIteration:
            return made


def test_every_operation_of_the_mix_succeeds(crowd: Crowd, outbox: Path) -> None:
    """What callers ask is what the API answers: each line of the mix twice, and both journeys to their ends."""
    client = ApiClient(find_target(crowd.api_url, "API"), "127.1.0.1")
    person, dice, letters = Person(crowd, 0), random.Random(1), LetterBox(outbox)  # noqa: S311 - it spreads load
    for request in [make(person, dice) for _, make in MIX for _ in range(2)]:
        client.ask(request)
    assert walk(client, sign_in(person.address, letters)) == [
        "POST /v1/auth/codes",
        "POST /v1/auth/session",
        "POST /v1/auth/session/refresh",
        "DELETE /v1/auth/session",
    ]
    assert len(walk(client, sign_up(letters))) == 8
    client.close()


def test_many_callers_are_served_without_a_failure(crowd: Crowd, outbox: Path) -> None:
    """All requests that were due are made, booked once each, and within the API's limits, sign-ins included."""
    settled = call(crowd, 240, outbox, share=0.1)
    endpoints = {endpoint.name: endpoint for endpoint in settled.endpoints_of([0])}
    assert {name: endpoint.failures for name, endpoint in endpoints.items() if endpoint.failures} == {}
    whole = settled.sum_of()
    assert (whole.requests_within, whole.failures, settled.pending) == (240, 0, 0)
    assert sum(endpoint.requests for endpoint in endpoints.values()) == 240
    assert {"POST /v1/auth/session", "POST /v1/relay/tickets", "POST /v1/prekeys", "GET /v1/devices"} <= set(endpoints)


def test_tokens_of_nobody_are_failures_in_words(crowd: Crowd) -> None:
    """A crowd whose sessions are not there is refused, and the figures say by what."""
    seats = tuple(replace(seat, access_token="A" * 86) for seat in crowd.seats)
    settled = call(replace(crowd, seats=seats), 40, None, share=1.0)
    failures = {word for endpoint in settled.endpoints_of([0]) for word in endpoint.failures}
    assert failures == {"401 unauthenticated"}
    assert settled.sum_of().requests_within == 40
