"""Refusals of sign-in, accounts, devices and prekeys over HTTP."""

import pytest

from domain.people.prekeys import CLAIMS_PER_ACCOUNT
from domain.people.sign_in import ATTEMPTS, CODE_TIME
from tests.api.bodies import claim, device_list, new_message, prekeys, proof, statements
from tests.api.memory_api import MemoryApi, refusal_of
from tests.cast import (
    CastDevice,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    open_conversation,
    revoke,
)
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode

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


async def sign_in(api: MemoryApi, code: str) -> RefusalCode:
    """Try a code, which is refused."""
    return refusal_of(await api.ask("POST", "/v1/auth/session", json={"email": EMAIL, "code": code}), 403)


async def test_refusal_code_wrong_and_code_exhausted(api: MemoryApi) -> None:
    """A wrong code may be tried five times; then not even the right one works."""
    await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    code = api.mail.code_for(EMAIL)
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    assert [await sign_in(api, wrong) for _ in range(ATTEMPTS)] == [RefusalCode.CODE_WRONG] * ATTEMPTS
    assert await sign_in(api, code) is RefusalCode.CODE_EXHAUSTED


async def test_refusal_code_expired(api: MemoryApi) -> None:
    """A code is good for ten minutes."""
    await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    api.clock.advance(CODE_TIME)
    assert await sign_in(api, api.mail.code_for(EMAIL)) is RefusalCode.CODE_EXPIRED


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/prekeys"),
        ("POST", "/v1/prekeys"),
        ("GET", "/v1/conversations"),
        ("GET", f"/v1/conversations/{NOWHERE}"),
        ("GET", f"/v1/conversations/{NOWHERE}/statements"),
        ("POST", f"/v1/conversations/{NOWHERE}/statements"),
        ("GET", "/v1/requests"),
        ("POST", "/v1/relay/tickets"),
        ("POST", "/v1/messages"),
    ],
)
async def test_refusal_no_device(api: MemoryApi, method: str, path: str) -> None:
    """What only a device may do needs one."""
    bodies = {"/v1/prekeys": {}, "/v1/messages": new_message(ConversationId(alice.account))}
    bodies[f"/v1/conversations/{NOWHERE}/statements"] = statements(b"any")
    body = bodies.get(path) if method == "POST" else None
    response = await api.ask(method, path, by=await deviceless(api), json=body)
    assert refusal_of(response, 409) is RefusalCode.NO_DEVICE


async def test_refusal_session_has_device_for_one_that_comes_back(api: MemoryApi) -> None:
    """A session that is bound does not go over to another device, whoever signed."""
    path, body = f"/v1/devices/{alice_laptop.id}/session", proof(alice_laptop, alice_phone.session.id)
    response = await api.ask("PUT", path, by=alice_phone, json=body)
    assert refusal_of(response, 409) is RefusalCode.SESSION_HAS_DEVICE


async def test_refusal_not_found_for_one_that_comes_back(api: MemoryApi) -> None:
    """Somebody else's, a revoked and an unknown device are answered the same."""
    token = await deviceless(api)
    await revoke(api.stores, alice.account, alice_laptop.id, api.clock())
    answers = []
    for device in (bob_phone, alice_laptop, tablet):
        path, body = f"/v1/devices/{device.id}/session", proof(device, tablet.session.id)
        answers.append(await api.ask("PUT", path, by=token, json=body))
    assert [refusal_of(response, 404) for response in answers] == [RefusalCode.NOT_FOUND] * 3
    assert len({response.content for response in answers}) == 1


async def test_refusal_bad_signature_for_one_that_comes_back(api: MemoryApi) -> None:
    """Neither another device's proof nor one for another session binds anything."""
    token, path = await deviceless(api), f"/v1/devices/{alice_phone.id}/session"
    for body in (proof(alice_laptop, tablet.session.id), proof(alice_phone, alice_phone.session.id)):
        response = await api.ask("PUT", path, by=token, json=body)
        assert refusal_of(response, 422) is RefusalCode.BAD_SIGNATURE
    assert refusal_of(await api.ask("POST", "/v1/relay/tickets", by=token), 409) is RefusalCode.NO_DEVICE


async def put_list(api: MemoryApi, body: object, status: int) -> RefusalCode:
    """Ask for a device list, which is refused."""
    return refusal_of(await api.ask("PUT", "/v1/device-list", by=alice_phone, json=body), status)


async def test_refusal_device_exists(api: MemoryApi) -> None:
    """An id is given once."""
    await revoke(api.stores, alice.account, alice_laptop.id, api.clock())
    body = await device_list(api.stores, api.clock(), add=[alice_laptop])
    assert await put_list(api, body, 409) is RefusalCode.DEVICE_EXISTS


async def test_refusal_stale_device_list(api: MemoryApi) -> None:
    """Somebody else's list came first."""
    late = await device_list(api.stores, api.clock(), revoke=[alice_phone.id])
    await revoke(api.stores, alice.account, alice_laptop.id, api.clock())
    assert await put_list(api, late, 409) is RefusalCode.STALE_DEVICE_LIST


async def test_refusal_bad_device_list(api: MemoryApi) -> None:
    """A list of an hour ago, and bytes that are none, are refused, and the rule is said."""
    old = await device_list(api.stores, api.clock() - 3_600_001, revoke=[alice_laptop.id])
    for body in (old, {"list": "AAAA"}):
        assert await put_list(api, body, 422) is RefusalCode.BAD_DEVICE_LIST


async def test_refusal_profile_not_allowed_in_a_list(api: MemoryApi) -> None:
    """A device receives for its own account's profiles."""
    body = await device_list(api.stores, api.clock(), profiles={alice_laptop.id: [bob.profile]})
    assert await put_list(api, body, 403) is RefusalCode.PROFILE_NOT_ALLOWED


async def test_refusal_claim_limit(api: MemoryApi) -> None:
    """One device cannot use up the keys of another."""
    body = claim(await group_of(api), bob_phone)
    for _ in range(CLAIMS_PER_ACCOUNT):
        assert (await api.ask("POST", "/v1/prekeys/claim", by=alice_phone, json=body)).status_code == 200
    response = await api.ask("POST", "/v1/prekeys/claim", by=alice_phone, json=body)
    assert refusal_of(response, 429) is RefusalCode.CLAIM_LIMIT


async def test_an_upload_of_prekeys_is_refused_for_what_it_is(api: MemoryApi) -> None:
    """Keys of another device are not taken."""
    response = await api.ask("POST", "/v1/prekeys", by=alice_phone, json=prekeys(bob_phone))
    assert refusal_of(response, 422) is RefusalCode.BAD_SIGNATURE
