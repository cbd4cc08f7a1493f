"""Refusals of conversations, members and messages over HTTP."""

from tests.api.bodies import new_message
from tests.api.memory_api import MemoryApi, refusal_of
from tests.cast import (
    CastDevice,
    alice,
    alice_phone,
    bob,
    bob_phone,
    carol,
    dave,
    open_conversation,
)
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind

SALT = "A" * 43 + "="
NOWHERE = "019b76da-a800-7000-8000-000000000007"
tablet = alice.further_device("tablet")


async def group_of(api: MemoryApi) -> ConversationId:
    """A group that Alice owns and Bob is in."""
    return await open_conversation(api.stores, alice, bob)


async def deviceless(api: MemoryApi, device: CastDevice = tablet) -> str:
    """The token of a session of Alice that has no device yet."""
    await api.stores.sessions.add(device.session)
    return device.access_token


async def test_refusal_not_allowed(api: MemoryApi) -> None:
    """A member cannot do what takes an admin."""
    body = {"profile": str(carol.profile), "as_profile": str(bob.profile)}
    response = await api.ask("POST", f"/v1/conversations/{await group_of(api)}/members", by=bob_phone, json=body)
    assert refusal_of(response, 403) is RefusalCode.NOT_ALLOWED


async def test_refusal_profile_not_allowed(api: MemoryApi) -> None:
    """Nobody writes as somebody else."""
    body = new_message(await group_of(api), profile=str(bob.profile))
    response = await api.ask("POST", "/v1/messages", by=alice_phone, json=body)
    assert refusal_of(response, 403) is RefusalCode.PROFILE_NOT_ALLOWED


async def test_refusal_wrong_kind(api: MemoryApi) -> None:
    """Nobody is added to a dm."""
    dm = await open_conversation(api.stores, alice, bob, kind=ConversationKind.DM)
    body = {"profile": str(carol.profile), "as_profile": str(alice.profile)}
    response = await api.ask("POST", f"/v1/conversations/{dm}/members", by=alice_phone, json=body)
    assert refusal_of(response, 409) is RefusalCode.WRONG_KIND


async def test_refusal_already_member(api: MemoryApi) -> None:
    """Nobody is added twice."""
    body = {"profile": str(bob.profile), "as_profile": str(alice.profile)}
    response = await api.ask("POST", f"/v1/conversations/{await group_of(api)}/members", by=alice_phone, json=body)
    assert refusal_of(response, 409) is RefusalCode.ALREADY_MEMBER


async def test_refusal_last_owner(api: MemoryApi) -> None:
    """The last owner does not leave the others alone."""
    path = f"/v1/conversations/{await group_of(api)}/members/{alice.profile}"
    assert refusal_of(await api.ask("DELETE", path, by=alice_phone), 409) is RefusalCode.LAST_OWNER


async def test_refusal_too_many(api: MemoryApi) -> None:
    """An account has eight profiles at most."""
    for _ in range(6):
        assert (
            await api.ask("POST", "/v1/profiles", by=alice_phone, json={"type": "JOBB", "salt": SALT})
        ).status_code == 201
    response = await api.ask("POST", "/v1/profiles", by=alice_phone, json={"type": "JOBB", "salt": SALT})
    assert refusal_of(response, 409) is RefusalCode.TOO_MANY


async def test_refusal_stale_devices(api: MemoryApi) -> None:
    """Who encrypted for other devices than the current ones is told exactly which."""
    body = new_message(await group_of(api))
    body["devices"][str(dave.devices[0].id)] = body["devices"].pop(str(bob_phone.id))
    response = await api.ask("POST", "/v1/messages", by=alice_phone, json=body)
    assert refusal_of(response, 409) is RefusalCode.STALE_DEVICES
    stale = {"roster_version": 1, "missing": [str(bob_phone.id)], "gone": [str(dave.devices[0].id)]}
    assert response.json()["stale"] == stale
