"""Refusals that any request may meet: of HTTP, of the token, of rates, and of a server that is in trouble."""

import pytest
from httpx import Response

from domain.budgets import Allowance, Budget
from domain.people.sessions import ACCESS_TIME
from domain.people.sign_in import CODES_PER_WINDOW
from domain.ports import StoreFault
from settings.api import ApiSettings, Timeouts
from simulation.stores.clock import HOUR, SECOND, ManualClock
from tests.api.bodies import claim, device_list, new_message, prekeys, statements
from tests.api.memory_api import MemoryApi, open_memory_api, refusal_of
from tests.cast import (
    CastDevice,
    alice,
    alice_phone,
    bob,
    bob_phone,
    open_conversation,
)
from tests.chains import CastSigner, opening
from varde.clock import fresh_id
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind

EMAIL = "someone@example.org"
NOWHERE = "019b76da-a800-7000-8000-000000000007"
tablet = alice.further_device("tablet")


async def group_of(api: MemoryApi) -> ConversationId:
    """A group that Alice owns and Bob is in."""
    return await open_conversation(api.stores, alice, bob)


async def deviceless(api: MemoryApi, device: CastDevice = tablet) -> str:
    """The token of a session of Alice that has no device yet."""
    await api.stores.sessions.add(device.session)
    return device.access_token


async def test_refusal_malformed(api: MemoryApi) -> None:
    """A body that does not fit is refused, and the field at fault is named."""
    response = await api.ask("POST", "/v1/profiles", by=alice_phone, json={"type": "WORK"})
    assert refusal_of(response, 400) is RefusalCode.MALFORMED
    assert "body.type" in response.json()["detail"]


async def test_refusal_too_large(api: MemoryApi) -> None:
    """A body over one MiB is refused."""
    response = await api.ask("POST", "/v1/auth/codes", json={"email": "a" * 1_100_000})
    assert refusal_of(response, 413) is RefusalCode.TOO_LARGE


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_refusal_unsupported_media_type(api: MemoryApi, headers: dict[str, str]) -> None:
    """Only plain JSON is read: a form that another site made a browser send is not."""
    response = await api.ask("POST", "/v1/auth/codes", content=b'{"email": "a@b.no"}', headers=headers)
    assert refusal_of(response, 415) is RefusalCode.UNSUPPORTED_MEDIA_TYPE
    assert api.mail.letters == []


async def test_json_with_a_charset_is_json(api: MemoryApi) -> None:
    """A parameter behind the media type does not matter."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    response = await api.ask("POST", "/v1/auth/codes", content=b'{"email": "a@b.no"}', headers=headers)
    assert response.status_code == 202


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "FROB"])
async def test_refusal_method_not_allowed(api: MemoryApi, method: str) -> None:
    """A path says which methods it takes."""
    response = await api.ask(method, "/v1/profiles", by=alice_phone)
    assert refusal_of(response, 405) is RefusalCode.METHOD_NOT_ALLOWED
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v2/health", "/v1/health/", "/v1//health", "/v1/profiles/7", f"/v1/profiles/{NOWHERE}"],
)
async def test_refusal_not_found(api: MemoryApi, path: str) -> None:
    """A path that is not there, an id that is none, and one that nobody has."""
    assert refusal_of(await api.ask("GET", path, by=alice_phone), 404) is RefusalCode.NOT_FOUND


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer x", "Basic eDp5", "bearer" + "x" * 86, "Bearer " + "A" * 86]
)
async def test_refusal_unauthenticated(api: MemoryApi, value: str | None) -> None:
    """Without a good token there is a challenge, and nothing else."""
    headers = {} if value is None else {"Authorization": value}
    response = await api.ask("GET", "/v1/account", headers=headers)
    assert refusal_of(response, 401) is RefusalCode.UNAUTHENTICATED
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_refusal_unauthenticated_for_two_tokens(api: MemoryApi) -> None:
    """Two Authorization headers are one too many: nobody chooses between them."""
    good = f"Bearer {alice_phone.access_token}"
    headers = [("Authorization", good), ("Authorization", good)]
    response = await api.client.get("/v1/account", headers=headers)
    assert refusal_of(response, 401) is RefusalCode.UNAUTHENTICATED


async def test_refusal_token_expired(api: MemoryApi) -> None:
    """An old access token is told apart from a wrong one: the client knows that it has to refresh."""
    tokens = await api.services.sessions.open(alice.account)
    api.clock.advance(ACCESS_TIME)
    response = await api.ask("GET", "/v1/account", by=tokens.access.spell())
    assert refusal_of(response, 401) is RefusalCode.TOKEN_EXPIRED
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_refusal_rate_limited_for_one_address(api: MemoryApi) -> None:
    """A mailbox gets five codes an hour, and the answer says when there is another."""
    for _ in range(CODES_PER_WINDOW):
        await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    response = await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    assert refusal_of(response, 429) is RefusalCode.RATE_LIMITED
    assert response.headers["retry-after"] == "3600"


async def test_refusal_rate_limited_for_one_network_address() -> None:
    """A machine that tries many mailboxes is slowed down as well, before anything is looked up."""
    async with open_memory_api(ApiSettings(port=0, sign_in_burst=2)) as api:
        for number in range(2):
            await api.ask("POST", "/v1/auth/codes", json={"email": f"{number}@example.org"})
        response = await api.ask("POST", "/v1/auth/session", json={"email": EMAIL, "code": "12345678"})
        assert refusal_of(response, 429) is RefusalCode.RATE_LIMITED
        assert (await api.ask("GET", "/v1/account", by=alice_phone)).status_code == 200


async def test_a_clock_that_is_set_back_refuses_nobody() -> None:
    """It refused everybody for as long as it was set back."""
    steady = ManualClock()
    async with open_memory_api(ApiSettings(port=0, sign_in_burst=1), budget_clock=steady) as api:
        await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
        api.clock.advance(-HOUR)
        steady.advance(SECOND)
        assert (await api.ask("POST", "/v1/auth/codes", json={"email": "b@example.org"})).status_code == 202


async def test_refusal_rate_limited_for_one_account() -> None:
    """Who brings people into conversations again and again is slowed down, and nobody else is."""
    async with open_memory_api(allowances={Budget.INVITATIONS: Allowance(2, 1, "Too many.")}) as api:
        body = statements(*opening(CastSigner(alice_phone), ConversationKind.DM, bob).signed)
        for _ in range(2):
            await api.ask("POST", "/v1/conversations", by=alice_phone, json=body)
        response = await api.ask("POST", "/v1/conversations", by=alice_phone, json=body)
        assert refusal_of(response, 429) is RefusalCode.RATE_LIMITED
        other = opening(CastSigner(bob_phone), ConversationKind.SELF, conversation=ConversationId(fresh_id()))
        body = statements(*other.signed)
        assert (await api.ask("POST", "/v1/conversations", by=bob_phone, json=body)).status_code == 201


async def ask_what_costs(api: MemoryApi, budget: Budget) -> Response:
    """Ask for something that is paid from this budget."""
    match budget:
        case Budget.REQUESTS:
            return await api.ask("GET", "/v1/account", by=alice_phone)
        case Budget.PREKEYS:
            return await api.ask("POST", "/v1/prekeys", by=alice_phone, json=prekeys(alice_phone))
        case Budget.CLAIMS:
            body = claim(await group_of(api), bob_phone)
            return await api.ask("POST", "/v1/prekeys/claim", by=alice_phone, json=body)
        case Budget.SENDS | Budget.BYTES | Budget.STORED_BYTES | Budget.DELIVERIES:
            body = new_message(await group_of(api))
            return await api.ask("POST", "/v1/messages", by=alice_phone, json=body)
        case Budget.ROSTER_MOVES:
            body = await device_list(api.stores, api.clock())
            return await api.ask("PUT", "/v1/device-list", by=alice_phone, json=body)
        case Budget.LOOK_UPS:
            body = {"name": "alice.a"}
            return await api.ask("PUT", f"/v1/profiles/{alice.profile}/user-name", by=alice_phone, json=body)
        case Budget.INVITATIONS | Budget.STRANGERS:
            body = statements(*opening(CastSigner(alice_phone), ConversationKind.DM, bob).signed)
            return await api.ask("POST", "/v1/conversations", by=alice_phone, json=body)


@pytest.mark.parametrize("budget", Budget)
async def test_refusal_rate_limited_by_each_budget(budget: Budget) -> None:
    """Finding 11: whatever others must work for is paid for over REST, too; and it is this budget that refuses it."""
    told = f"The {budget} are used up."
    async with open_memory_api(allowances={budget: Allowance(1 / 2, 1, told)}) as api:
        response = await ask_what_costs(api, budget)
        assert refusal_of(response, 429) is RefusalCode.RATE_LIMITED
        assert response.json()["detail"] == told
    async with open_memory_api() as api:
        assert (await ask_what_costs(api, budget)).is_success


async def test_refusal_unavailable(api: MemoryApi) -> None:
    """Without its database the API says so and when to come back; it does not break, and it recovers."""
    with api.interference.outage():
        response = await api.ask("GET", "/v1/account", by=alice_phone)
        assert refusal_of(response, 503) is RefusalCode.UNAVAILABLE
        assert response.headers["retry-after"] == "1"
        ready = await api.ask("GET", "/v1/ready")
        assert (ready.status_code, ready.json()) == (
            503,
            {"ready": False, "database": False, "schema": False, "bus": True},
        )
        assert (await api.ask("GET", "/v1/health")).status_code == 200
    assert (await api.ask("GET", "/v1/account", by=alice_phone)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/account", "/v1/auth/codes"])
async def test_refusal_unavailable_when_the_database_does_not_answer(path: str) -> None:
    """A request ends in its time, whether it waits for the session of its token or for what it asked for."""
    timeouts = Timeouts(body=0.1, work=0.1)
    async with open_memory_api(timeouts=timeouts) as api:
        api.interference.silent = True
        method, body = ("GET", None) if path == "/v1/account" else ("POST", {"email": EMAIL})
        response = await api.ask(method, path, by=alice_phone, json=body)
        assert refusal_of(response, 503) is RefusalCode.UNAVAILABLE


async def test_refusal_unavailable_when_the_mail_server_is_down(api: MemoryApi) -> None:
    """A code that was not mailed is not said to be on its way."""
    api.mail.down = True
    response = await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    assert refusal_of(response, 503) is RefusalCode.UNAVAILABLE


async def test_refusal_internal_when_the_database_refuses_a_statement(
    api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails for good is not called `unavailable`: clients would ask again and again."""

    async def fail() -> None:
        raise StoreFault("UniqueViolationError session_pkey")

    monkeypatch.setattr(api.interference, "let_through", fail)
    response = await api.ask("GET", "/v1/account", by=alice_phone)
    assert refusal_of(response, 500) is RefusalCode.INTERNAL


async def test_refusal_internal(api: MemoryApi, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is noted by type and place, and neither the log nor the answer holds anything of the request."""
    conversation = await group_of(api)
    del api.memory.accounts[bob.account]
    response = await api.ask("GET", f"/v1/conversations/{conversation}", by=alice_phone)
    assert refusal_of(response, 500) is RefusalCode.INTERNAL
    (record,) = [record for record in caplog.records if record.name == "api.app"]
    assert "KeyError at conversations.py" in record.getMessage()
    for secret in (str(conversation), str(bob.account), alice_phone.access_token):
        assert secret not in caplog.text + response.text
    assert (await api.ask("GET", "/v1/account", by=alice_phone)).status_code == 200
