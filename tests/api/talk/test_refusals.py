"""Refusals of conversations, members and messages over HTTP."""

import base64

from tests.api.bodies import new_message, statements
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
from tests.chains import CastSigner, Chain, opening
from varde_contract import membership as m
from varde_contract import membership_statements as s
from varde_contract.envelope import ENVELOPE_VERSION, Cipher
from varde_contract.ids import ConversationId
from varde_contract.refusals import RefusalCode
from varde_contract.talk import ConversationKind, Role

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


ALICE, BOB, CAROL = (CastSigner(each) for each in (alice_phone, bob_phone, carol.devices[0]))


async def refused(api: MemoryApi, chain: Chain, by: CastDevice, signed: bytes, status: int) -> RefusalCode:
    """What a statement is refused with."""
    path = f"/v1/conversations/{chain.conversation}/statements"
    return refusal_of(await api.ask("POST", path, by=by, json=statements(signed)), status)


async def chain_of(api: MemoryApi, kind: ConversationKind = ConversationKind.GROUP) -> Chain:
    """A conversation of Alice and Bob that begins with statements."""
    chain = opening(ALICE, kind, bob)
    await api.ask("POST", "/v1/conversations", by=alice_phone, json=statements(*chain.signed))
    chain.say(BOB, s.Accept, None)
    path = f"/v1/conversations/{chain.conversation}/statements"
    assert (await api.ask("POST", path, by=bob_phone, json=statements(chain.signed[-1]))).status_code == 201
    return chain


async def test_refusals_of_statements(api: MemoryApi) -> None:
    """A member does not remove, nobody is invited twice, the last owner stays, and only the next number is taken."""
    chain = await chain_of(api)
    for by, signer, kind, body, status, code in (
        (bob_phone, BOB, s.Remove, [alice.profile], 403, RefusalCode.NOT_ALLOWED),
        (alice_phone, ALICE, s.Invite, [bob.profile, bob.account, Role.MEMBER], 409, RefusalCode.ALREADY_MEMBER),
        (alice_phone, ALICE, s.Leave, [], 409, RefusalCode.LAST_OWNER),
    ):
        assert await refused(api, chain, by, chain.sign(signer, kind, *body), status) is code
    late = chain.sign(BOB, s.Leave)
    chain.say(ALICE, s.Invite, carol.profile, carol.account, Role.MEMBER)
    path = f"/v1/conversations/{chain.conversation}/statements"
    await api.ask("POST", path, by=alice_phone, json=statements(chain.signed[-1]))
    assert await refused(api, chain, bob_phone, late, 409) is RefusalCode.STALE_CHAIN
    forged = s.sign_statement(s.Leave(*m.next_head(chain.now, BOB.signer, 0)), ALICE.key.sign)
    assert await refused(api, chain, bob_phone, forged, 422) is RefusalCode.BAD_SIGNATURE


async def test_a_statement_is_no_message(api: MemoryApi) -> None:
    """What the API has not judged is in no log: members would hold another chain than everybody else."""
    conversation = await group_of(api)
    sealed = base64.b64encode(bytes((ENVELOPE_VERSION, Cipher.MEMBERSHIP)) + b"signed").decode()
    each = new_message(conversation)
    group = new_message(conversation, devices=None, group=sealed)
    each["devices"][str(bob_phone.id)] = sealed
    for body in (group, each):
        response = await api.ask("POST", "/v1/messages", by=alice_phone, json=body)
        assert refusal_of(response, 400) is RefusalCode.MALFORMED


async def test_refusal_profile_not_allowed(api: MemoryApi) -> None:
    """Nobody writes as somebody else."""
    body = new_message(await group_of(api), profile=str(bob.profile))
    response = await api.ask("POST", "/v1/messages", by=alice_phone, json=body)
    assert refusal_of(response, 403) is RefusalCode.PROFILE_NOT_ALLOWED


async def test_refusal_wrong_kind(api: MemoryApi) -> None:
    """Nobody is added to a dm."""
    chain = await chain_of(api, ConversationKind.DM)
    signed = s.sign_statement(
        s.Invite(*m.next_head(chain.now, ALICE.signer, 0), carol.profile, carol.account, Role.MEMBER), ALICE.key.sign
    )
    assert await refused(api, chain, alice_phone, signed, 409) is RefusalCode.WRONG_KIND


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
