"""Signing in over HTTP: from an e-mail address to a session, carried on, listed and ended.

Refused codes are in `test_refusals.py`.
"""

from typing import Any

from domain.people.sessions import RETRY_TIME
from simulation.stores.clock import HOUR
from tests.api.memory_api import MemoryApi, refusal_of
from tests.cast import alice, alice_laptop, alice_phone, bob_phone
from varde_contract.refusals import RefusalCode

EMAIL = "someone@example.org"


async def signed_in(api: MemoryApi) -> dict[str, Any]:
    """Sign in with a fresh code; the tokens."""
    asked = await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    assert (asked.status_code, asked.json()) == (202, {"expires_in_s": 600})
    body = {"email": EMAIL, "code": api.mail.code_for(EMAIL)}
    response = await api.ask("POST", "/v1/auth/session", json=body)
    assert response.status_code == 201
    return dict(response.json())


async def test_a_code_is_traded_for_a_session(empty_api: MemoryApi) -> None:
    """The first sign-in makes the account, the next finds it."""
    first, second = await signed_in(empty_api), await signed_in(empty_api)
    assert (first["new_account"], second["new_account"]) == (True, False)
    assert first["account"] == second["account"]
    account = await empty_api.ask("GET", "/v1/account", by=first["access_token"])
    assert account.json() == {"account": first["account"], "created_at": "2026-01-02T00:00:00Z", "list_number": 0}


async def test_the_expiry_times_are_what_the_server_keeps_to(empty_api: MemoryApi) -> None:
    """An hour for access, ninety days for refresh, as RFC 3339 in UTC."""
    tokens = await signed_in(empty_api)
    assert tokens["access_expires_at"] == "2026-01-02T01:00:00Z"
    assert tokens["refresh_expires_at"] == "2026-04-02T00:00:00Z"


async def test_asking_for_a_code_says_the_same_with_and_without_an_account(empty_api: MemoryApi) -> None:
    """Nobody finds out here who uses the service."""
    await signed_in(empty_api)
    known = await empty_api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    unknown = await empty_api.ask("POST", "/v1/auth/codes", json={"email": "never@example.org"})
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


async def test_a_session_is_refreshed(empty_api: MemoryApi) -> None:
    """New tokens for the same session; the old ones are over."""
    tokens = await signed_in(empty_api)
    empty_api.clock.advance(HOUR)
    response = await empty_api.ask("POST", "/v1/auth/session/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert response.status_code == 200
    fresh = response.json()
    assert fresh["session"] == tokens["session"]
    assert fresh["new_account"] is False
    assert (await empty_api.ask("GET", "/v1/account", by=fresh["access_token"])).status_code == 200
    refusal_of(await empty_api.ask("GET", "/v1/account", by=tokens["access_token"]), 401)


async def test_a_refresh_token_shown_twice_ends_the_session(empty_api: MemoryApi) -> None:
    """A copied refresh token is noticed, and neither copy is good any more."""
    tokens = await signed_in(empty_api)
    body = {"refresh_token": tokens["refresh_token"]}
    fresh = (await empty_api.ask("POST", "/v1/auth/session/refresh", json=body)).json()
    assert (await empty_api.ask("GET", "/v1/account", by=fresh["access_token"])).status_code == 200
    empty_api.clock.advance(RETRY_TIME)
    again = await empty_api.ask("POST", "/v1/auth/session/refresh", json=body)
    assert refusal_of(again, 401) is RefusalCode.UNAUTHENTICATED
    assert refusal_of(await empty_api.ask("GET", "/v1/account", by=fresh["access_token"]), 401)


async def test_sessions_are_listed_and_ended(api: MemoryApi) -> None:
    """An owner sees which devices are signed in, and signs one of them out."""
    listed = (await api.ask("GET", "/v1/auth/sessions", by=alice_phone)).json()["sessions"]
    assert {session["device"] for session in listed} == {str(alice_phone.id), str(alice_laptop.id)}
    assert [session["session"] for session in listed if session["current"]] == [str(alice_phone.session.id)]
    path = f"/v1/auth/sessions/{alice_laptop.session.id}"
    assert (await api.ask("DELETE", path, by=alice_phone)).status_code == 204
    refusal_of(await api.ask("GET", "/v1/account", by=alice_laptop), 401)
    assert refusal_of(await api.ask("DELETE", path, by=alice_phone), 404) is RefusalCode.NOT_FOUND


async def test_nobody_ends_the_session_of_another(api: MemoryApi) -> None:
    """Bob's session is not found by Alice."""
    path = f"/v1/auth/sessions/{bob_phone.session.id}"
    assert refusal_of(await api.ask("DELETE", path, by=alice_phone), 404) is RefusalCode.NOT_FOUND
    assert (await api.ask("GET", "/v1/account", by=bob_phone)).status_code == 200


async def test_logging_out_ends_the_session(api: MemoryApi) -> None:
    """An answer without content, and the token is over."""
    response = await api.ask("DELETE", "/v1/auth/session", by=alice_phone)
    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers
    refusal_of(await api.ask("DELETE", "/v1/auth/session", by=alice_phone), 401)


async def test_signing_up_ends_with_a_device(empty_api: MemoryApi) -> None:
    """Code, session, profile, device list: the whole way of a new client, for somebody not of the cast."""
    tokens = await signed_in(empty_api)
    by = tokens["access_token"]
    account = await empty_api.ask("GET", "/v1/account", by=by)
    assert account.json()["list_number"] == 0
    profile = await empty_api.ask("POST", "/v1/profiles", by=by, json={"type": "PRIVAT", "salt": "A" * 43 + "="})
    assert profile.status_code == 201
    assert profile.json()["profile"] != str(alice.profile)
    assert (await empty_api.ask("GET", "/v1/devices", by=by)).json() == {"devices": []}
