"""What users do when their tickets end in the midst of a run."""

import time
from collections.abc import Callable

import msgspec
import pytest

from loadtest.crowd.crowd import Crowd
from tests.cast import alice_phone
from tests.loadtest.rest.strange import Strange, open_strange, response
from tests.loadtest.users.recording import wait_until
from tests.loadtest.users.running_users import open_users
from tests.loadtest.users.scripted import Peer, Script, Server, open_scripted
from varde_contract.close_codes import CloseCode

TICKET = b'{"ticket": "another ticket", "expires_at": "2030-01-01T00:00:00Z"}'
TOKEN = "a token"
HOUR_MS = 3_600_000


def welcoming(told: list[str], ended: Callable[[int], bool]) -> Script:
    """Let everybody in and note their tickets, but tell some connections that theirs has ended."""

    def script(peer: Peer) -> None:
        peer.join()
        assert peer.session.hello is not None
        told.append(peer.session.hello.ticket)
        if ended(peer.number):
            peer.close(CloseCode.TICKET_EXPIRED)
        peer.hear_end()

    return script


def one(server: Server, api: Strange, *, token: str = TOKEN, left_ms: int = 24 * HOUR_MS) -> Crowd:
    """A single user, with an access token or without, whose ticket has so long to go."""
    crowd = server.crowd(alice_phone)
    seat = msgspec.structs.replace(crowd.seats[0], access_token=token)
    expires_ms = round(time.time() * 1000) + left_ms
    return msgspec.structs.replace(crowd, api_url=api.url, seats=(seat,), tickets_expire_ms=expires_ms)


def test_a_ticket_that_ended_is_replaced() -> None:
    """After close code 4104 a user fetches another ticket by its access token, and comes back with it."""
    told: list[str] = []
    with (
        open_strange(lambda: response(TICKET, "201 Created")) as api,
        open_scripted(welcoming(told, lambda number: number == 0)) as server,
        open_users(one(server, api)) as running,
    ):
        running.enter()
        wait_until(lambda: len(told) == 2)
    assert told == ["a ticket", "another ticket"]
    assert running.ledger.told("closed")[0] == ("4104",)
    assert api.requests == 1


@pytest.mark.parametrize(("token", "asked"), [(TOKEN, 1), ("", 0)])
def test_without_another_ticket_a_user_does_not_come_back(token: str, asked: int) -> None:
    """Without an access token, or when the API will not have it, 4104 is what it is: the end."""
    told: list[str] = []
    with open_strange(lambda: response(b"{}", "401 Unauthorized")) as api:
        always = welcoming(told, lambda _: True)
        with open_scripted(always) as server, open_users(one(server, api, token=token)) as running:
            running.enter()
            wait_until(lambda: running.lives[0].dead)
        assert api.requests == asked
    assert set(told) == {"a ticket"}
    assert len(told) == 1 + asked


def test_a_ticket_is_replaced_before_it_ends() -> None:
    """When the run outlasts the ticket, its user fetches another one in time; the connection goes on meanwhile."""
    told: list[str] = []
    with (
        open_strange(lambda: response(TICKET, "201 Created")) as api,
        open_scripted(welcoming(told, lambda _: False)) as server,
        open_users(one(server, api, left_ms=60_000)) as running,
    ):
        running.enter()
        wait_until(lambda: running.population.tickets.of(0) == "another ticket")
        assert not running.ledger.told("closed")
    assert api.requests == 1


def test_nobody_fetches_what_is_not_needed() -> None:
    """In a run that is over long before, the API is not asked, and nobody sleeps with an eye on the clock."""
    told: list[str] = []
    with (
        open_strange(lambda: response(TICKET, "201 Created")) as api,
        open_scripted(welcoming(told, lambda _: False)) as server,
        open_users(one(server, api)) as running,
    ):
        running.enter()
        wait_until(lambda: told)
        assert running.population.tickets.due_at(0) == float("inf")
    assert api.requests == 0
