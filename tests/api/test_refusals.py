"""Every refusal that the API can answer with, asked for over HTTP: its status and its word."""

import pytest

from domain.people.auth import ATTEMPTS, CODE_TIME, CODES_PER_WINDOW
from domain.people.prekeys import CLAIMS_PER_PAIR
from domain.people.sessions import ACCESS_TIME
from settings.api import Allowance, ApiSettings
from tests.api.bodies import claim, new_device, prekeys, proof
from tests.api.face import Face, open_face, refusal_of
from tests.api.sends import new_message
from tests.cast import (
    Gear,
    alice,
    alice_laptop,
    alice_phone,
    bob,
    bob_phone,
    carol,
    dave,
    open_conversation,
)
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.conversations import ConversationKind

EMAIL = "someone@example.org"
NOWHERE = "019b76da-a800-7000-8000-000000000007"
tablet = alice.further_device("tablet")


async def group_of(face: Face) -> ConversationId:
    """A group that Alice owns and Bob is in."""
    return await open_conversation(face.stores, alice, bob)


async def deviceless(face: Face, gear: Gear = tablet) -> str:
    """The token of a session of Alice that has no device yet."""
    await face.stores.sessions.add(gear.session)
    return gear.access_token


async def test_refusal_malformed(face: Face) -> None:
    """A body that does not fit is refused, and the field at fault is named."""
    response = await face.ask("POST", "/v1/profiles", by=alice_phone, json={"type": "WORK"})
    assert refusal_of(response, 400) is RefusalCode.MALFORMED
    assert "body.type" in response.json()["detail"]


async def test_refusal_too_large(face: Face) -> None:
    """A body over one MiB is refused."""
    response = await face.ask("POST", "/v1/auth/codes", json={"email": "a" * 1_100_000})
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
async def test_refusal_unsupported_media_type(face: Face, headers: dict[str, str]) -> None:
    """Only plain JSON is read: a form that another site made a browser send is not."""
    response = await face.ask("POST", "/v1/auth/codes", content=b'{"email": "a@b.no"}', headers=headers)
    assert refusal_of(response, 415) is RefusalCode.UNSUPPORTED_MEDIA_TYPE
    assert face.mail.letters == []


async def test_json_with_a_charset_is_json(face: Face) -> None:
    """A parameter behind the media type does not matter."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    response = await face.ask("POST", "/v1/auth/codes", content=b'{"email": "a@b.no"}', headers=headers)
    assert response.status_code == 202


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "FROB"])
async def test_refusal_method_not_allowed(face: Face, method: str) -> None:
    """A path says which methods it takes."""
    response = await face.ask(method, "/v1/profiles", by=alice_phone)
    assert refusal_of(response, 405) is RefusalCode.METHOD_NOT_ALLOWED
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v2/health", "/v1/health/", "/v1//health", "/v1/profiles/7", f"/v1/profiles/{NOWHERE}"],
)
async def test_refusal_not_found(face: Face, path: str) -> None:
    """A path that is not there, an id that is none, and one that nobody has."""
    assert refusal_of(await face.ask("GET", path, by=alice_phone), 404) is RefusalCode.NOT_FOUND


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer x", "Basic eDp5", "bearer" + "x" * 86, "Bearer " + "A" * 86]
)
async def test_refusal_unauthenticated(face: Face, value: str | None) -> None:
    """Without a good token there is a challenge, and nothing else."""
    headers = {} if value is None else {"Authorization": value}
    response = await face.ask("GET", "/v1/account", headers=headers)
    assert refusal_of(response, 401) is RefusalCode.UNAUTHENTICATED
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_refusal_unauthenticated_for_two_tokens(face: Face) -> None:
    """Two Authorization headers are one too many: nobody chooses between them."""
    good = f"Bearer {alice_phone.access_token}"
    headers = [("Authorization", good), ("Authorization", good)]
    response = await face.client.get("/v1/account", headers=headers)
    assert refusal_of(response, 401) is RefusalCode.UNAUTHENTICATED


async def test_refusal_token_expired(face: Face) -> None:
    """An old access token is told apart from a wrong one: the client knows that it has to refresh."""
    tokens = await face.world.sessions.open(alice.account)
    face.clock.go_on(ACCESS_TIME)
    response = await face.ask("GET", "/v1/account", by=tokens.access.spell())
    assert refusal_of(response, 401) is RefusalCode.TOKEN_EXPIRED
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def sign_in(face: Face, code: str) -> RefusalCode:
    """Try a code, which is refused."""
    return refusal_of(await face.ask("POST", "/v1/auth/session", json={"email": EMAIL, "code": code}), 403)


async def test_refusal_code_wrong_and_code_exhausted(face: Face) -> None:
    """A wrong code may be tried five times; then not even the right one works."""
    await face.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    code = face.mail.code_for(EMAIL)
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    assert [await sign_in(face, wrong) for _ in range(ATTEMPTS)] == [RefusalCode.CODE_WRONG] * ATTEMPTS
    assert await sign_in(face, code) is RefusalCode.CODE_EXHAUSTED


async def test_refusal_code_expired(face: Face) -> None:
    """A code is good for ten minutes."""
    await face.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    face.clock.go_on(CODE_TIME)
    assert await sign_in(face, face.mail.code_for(EMAIL)) is RefusalCode.CODE_EXPIRED


async def test_refusal_rate_limited_for_one_address(face: Face) -> None:
    """A mailbox gets five codes an hour, and the answer says when there is another."""
    for _ in range(CODES_PER_WINDOW):
        await face.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    response = await face.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    assert refusal_of(response, 429) is RefusalCode.RATE_LIMITED
    assert response.headers["retry-after"] == "3600"


async def test_refusal_rate_limited_for_one_network_address() -> None:
    """A machine that tries many mailboxes is slowed down as well, before anything is looked up."""
    async with open_face(ApiSettings(port=0, sign_in=Allowance(burst=2))) as face:
        for number in range(2):
            await face.ask("POST", "/v1/auth/codes", json={"email": f"{number}@example.org"})
        response = await face.ask("POST", "/v1/auth/session", json={"email": EMAIL, "code": "12345678"})
        assert refusal_of(response, 429) is RefusalCode.RATE_LIMITED
        assert (await face.ask("GET", "/v1/account", by=alice_phone)).status_code == 200


async def test_refusal_rate_limited_for_one_account() -> None:
    """Who brings people into conversations again and again is slowed down, and nobody else is."""
    async with open_face(ApiSettings(port=0, invitations=Allowance(burst=2))) as face:
        body = {"kind": "dm", "profile": str(alice.profile), "members": [str(bob.profile)]}
        for _ in range(2):
            await face.ask("POST", "/v1/conversations", by=alice_phone, json=body)
        response = await face.ask("POST", "/v1/conversations", by=alice_phone, json=body)
        assert refusal_of(response, 429) is RefusalCode.RATE_LIMITED
        body = {"kind": "self", "profile": str(bob.profile)}
        assert (await face.ask("POST", "/v1/conversations", by=bob_phone, json=body)).status_code == 201


async def test_refusal_not_allowed(face: Face) -> None:
    """A member cannot do what takes an admin."""
    body = {"profile": str(carol.profile), "as_profile": str(bob.profile)}
    response = await face.ask("POST", f"/v1/conversations/{await group_of(face)}/members", by=bob_phone, json=body)
    assert refusal_of(response, 403) is RefusalCode.NOT_ALLOWED


async def test_refusal_profile_not_allowed(face: Face) -> None:
    """Nobody writes as somebody else."""
    body = new_message(await group_of(face), profile=str(bob.profile))
    response = await face.ask("POST", "/v1/messages", by=alice_phone, json=body)
    assert refusal_of(response, 403) is RefusalCode.PROFILE_NOT_ALLOWED


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/prekeys"),
        ("POST", "/v1/prekeys"),
        ("GET", "/v1/conversations"),
        ("GET", f"/v1/conversations/{NOWHERE}"),
        ("GET", f"/v1/conversations/{NOWHERE}/senders/{NOWHERE}"),
        ("DELETE", f"/v1/conversations/{NOWHERE}/members/{NOWHERE}"),
        ("POST", "/v1/relay/tickets"),
        ("POST", "/v1/messages"),
    ],
)
async def test_refusal_no_device(face: Face, method: str, path: str) -> None:
    """What only a device may do needs one."""
    bodies = {"/v1/prekeys": {}, "/v1/messages": new_message(ConversationId(alice.account))}
    body = bodies.get(path) if method == "POST" else None
    response = await face.ask(method, path, by=await deviceless(face), json=body)
    assert refusal_of(response, 409) is RefusalCode.NO_DEVICE


async def test_refusal_no_root_key(new_face: Face) -> None:
    """A device is certified by a root key, which has to be there first."""
    await new_face.stores.sign_in.account_of(alice.address, alice.account, 1)
    response = await new_face.ask("POST", "/v1/devices", by=await deviceless(new_face), json=new_device(tablet))
    assert refusal_of(response, 409) is RefusalCode.NO_ROOT_KEY


async def test_refusal_root_key_set(face: Face) -> None:
    """A root key is set once."""
    key = new_device(bob_phone)["signing_key"]
    response = await face.ask("PUT", "/v1/account/root-key", by=alice_phone, json={"root_key": key})
    assert refusal_of(response, 409) is RefusalCode.ROOT_KEY_SET


async def test_refusal_session_has_device(face: Face) -> None:
    """A session is bound to one device."""
    response = await face.ask("POST", "/v1/devices", by=alice_phone, json=new_device(tablet))
    assert refusal_of(response, 409) is RefusalCode.SESSION_HAS_DEVICE


async def test_refusal_session_has_device_for_one_that_comes_back(face: Face) -> None:
    """A session that is bound does not go over to another device, whoever signed."""
    path, body = f"/v1/devices/{alice_laptop.id}/session", proof(alice_laptop, alice_phone.session.id)
    response = await face.ask("PUT", path, by=alice_phone, json=body)
    assert refusal_of(response, 409) is RefusalCode.SESSION_HAS_DEVICE


async def test_refusal_not_found_for_one_that_comes_back(face: Face) -> None:
    """Somebody else's, a revoked and an unknown device are answered the same."""
    token = await deviceless(face)
    await face.ask("DELETE", f"/v1/devices/{alice_laptop.id}", by=alice_phone)
    answers = []
    for gear in (bob_phone, alice_laptop, tablet):
        path, body = f"/v1/devices/{gear.id}/session", proof(gear, tablet.session.id)
        answers.append(await face.ask("PUT", path, by=token, json=body))
    assert [refusal_of(response, 404) for response in answers] == [RefusalCode.NOT_FOUND] * 3
    assert len({response.content for response in answers}) == 1


async def test_refusal_bad_signature_for_one_that_comes_back(face: Face) -> None:
    """Neither another device's proof nor one for another session binds anything."""
    token, path = await deviceless(face), f"/v1/devices/{alice_phone.id}/session"
    for body in (proof(alice_laptop, tablet.session.id), proof(alice_phone, alice_phone.session.id)):
        response = await face.ask("PUT", path, by=token, json=body)
        assert refusal_of(response, 422) is RefusalCode.BAD_SIGNATURE
    assert refusal_of(await face.ask("POST", "/v1/relay/tickets", by=token), 409) is RefusalCode.NO_DEVICE


async def test_refusal_not_found_for_a_sender(face: Face) -> None:
    """An outsider, a newcomer, and who asks for a device that wrote nothing are answered as if nobody had it."""
    conversation = await group_of(face)
    await face.ask("POST", "/v1/messages", by=alice_phone, json=new_message(conversation))
    asked = [(carol.devices[0], alice_phone), (bob_phone, alice_laptop), (bob_phone, dave.devices[0])]
    answers = [await face.ask("GET", sender_path(conversation, gear), by=by) for by, gear in asked]
    body = {"profile": str(carol.profile), "as_profile": str(alice.profile)}
    await face.ask("POST", f"/v1/conversations/{conversation}/members", by=alice_phone, json=body)
    answers.append(await face.ask("GET", sender_path(conversation, alice_phone), by=carol.devices[0]))
    answers.append(await face.ask("GET", sender_path(NOWHERE, alice_phone), by=bob_phone))
    assert [refusal_of(response, 404) for response in answers] == [RefusalCode.NOT_FOUND] * 5
    assert len({response.content for response in answers}) == 1


def sender_path(conversation: ConversationId | str, gear: Gear) -> str:
    """Where a device that wrote is shown."""
    return f"/v1/conversations/{conversation}/senders/{gear.id}"


async def test_refusal_device_exists(face: Face) -> None:
    """An id is given once."""
    response = await face.ask("POST", "/v1/devices", by=await deviceless(face), json=new_device(alice_laptop))
    assert refusal_of(response, 409) is RefusalCode.DEVICE_EXISTS


async def test_refusal_bad_key(face: Face) -> None:
    """An all-zero key is refused."""
    body = new_device(tablet) | {"noise_key": "A" * 43 + "="}
    response = await face.ask("POST", "/v1/devices", by=await deviceless(face), json=body)
    assert refusal_of(response, 422) is RefusalCode.BAD_KEY


async def test_refusal_bad_signature(face: Face) -> None:
    """A certificate that the account's root key did not sign is refused."""
    body = new_device(tablet) | {"signature": new_device(bob_phone)["signature"]}
    response = await face.ask("POST", "/v1/devices", by=await deviceless(face), json=body)
    assert refusal_of(response, 422) is RefusalCode.BAD_SIGNATURE


async def test_refusal_wrong_kind(face: Face) -> None:
    """Nobody is added to a dm."""
    dm = await open_conversation(face.stores, alice, bob, kind=ConversationKind.DM)
    body = {"profile": str(carol.profile), "as_profile": str(alice.profile)}
    response = await face.ask("POST", f"/v1/conversations/{dm}/members", by=alice_phone, json=body)
    assert refusal_of(response, 409) is RefusalCode.WRONG_KIND


async def test_refusal_already_member(face: Face) -> None:
    """Nobody is added twice."""
    body = {"profile": str(bob.profile), "as_profile": str(alice.profile)}
    response = await face.ask("POST", f"/v1/conversations/{await group_of(face)}/members", by=alice_phone, json=body)
    assert refusal_of(response, 409) is RefusalCode.ALREADY_MEMBER


async def test_refusal_last_owner(face: Face) -> None:
    """The last owner does not leave the others alone."""
    path = f"/v1/conversations/{await group_of(face)}/members/{alice.profile}"
    assert refusal_of(await face.ask("DELETE", path, by=alice_phone), 409) is RefusalCode.LAST_OWNER


async def test_refusal_too_many(face: Face) -> None:
    """An account has eight profiles at most."""
    for _ in range(6):
        assert (await face.ask("POST", "/v1/profiles", by=alice_phone, json={"type": "JOBB"})).status_code == 201
    response = await face.ask("POST", "/v1/profiles", by=alice_phone, json={"type": "JOBB"})
    assert refusal_of(response, 409) is RefusalCode.TOO_MANY


async def test_refusal_claim_limit(face: Face) -> None:
    """One device cannot use up the keys of another."""
    body = claim(await group_of(face), bob_phone)
    for _ in range(CLAIMS_PER_PAIR):
        assert (await face.ask("POST", "/v1/prekeys/claim", by=alice_phone, json=body)).status_code == 200
    response = await face.ask("POST", "/v1/prekeys/claim", by=alice_phone, json=body)
    assert refusal_of(response, 429) is RefusalCode.CLAIM_LIMIT


async def test_refusal_stale_devices(face: Face) -> None:
    """Who encrypted for other devices than the current ones is told exactly which."""
    body = new_message(await group_of(face))
    body["devices"][str(dave.devices[0].id)] = body["devices"].pop(str(bob_phone.id))
    response = await face.ask("POST", "/v1/messages", by=alice_phone, json=body)
    assert refusal_of(response, 409) is RefusalCode.STALE_DEVICES
    stale = {"roster_version": 1, "missing": [str(bob_phone.id)], "gone": [str(dave.devices[0].id)]}
    assert response.json()["stale"] == stale


async def test_refusal_unavailable(face: Face) -> None:
    """Without its database the API says so and when to come back; it does not break, and it recovers."""
    with face.interference.outage():
        response = await face.ask("GET", "/v1/account", by=alice_phone)
        assert refusal_of(response, 503) is RefusalCode.UNAVAILABLE
        assert response.headers["retry-after"] == "1"
        ready = await face.ask("GET", "/v1/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False, "database": False})
        assert (await face.ask("GET", "/v1/health")).status_code == 200
    assert (await face.ask("GET", "/v1/account", by=alice_phone)).status_code == 200


async def test_refusal_unavailable_when_the_mail_server_is_down(face: Face) -> None:
    """A code that was not mailed is not said to be on its way."""
    face.mail.down = True
    response = await face.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    assert refusal_of(response, 503) is RefusalCode.UNAVAILABLE


async def test_refusal_internal(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is noted by type and place, and neither the log nor the answer holds anything of the request."""
    conversation = await group_of(face)
    del face.memory.accounts[bob.account]
    response = await face.ask("GET", f"/v1/conversations/{conversation}", by=alice_phone)
    assert refusal_of(response, 500) is RefusalCode.INTERNAL
    (record,) = [record for record in caplog.records if record.name == "api.app"]
    assert "KeyError at conversations.py" in record.getMessage()
    for secret in (str(conversation), str(bob.account), alice_phone.access_token):
        assert secret not in caplog.text + response.text
    assert (await face.ask("GET", "/v1/account", by=alice_phone)).status_code == 200


async def test_an_upload_of_prekeys_is_refused_for_what_it_is(face: Face) -> None:
    """Keys of another device are not taken."""
    response = await face.ask("POST", "/v1/prekeys", by=alice_phone, json=prekeys(bob_phone))
    assert refusal_of(response, 422) is RefusalCode.BAD_SIGNATURE
