"""What the API does not say: nothing of conversations to outsiders, nothing of what was sent, nothing to the wrong one.

Refusals as such are in `test_refusals.py`.
"""

import httpx
import trio

from tests.api.bodies import claim, new_message, statements
from tests.api.memory_api import MemoryApi
from tests.cast import CastDevice, alice, alice_phone, bob, bob_phone, mallory, mallory_phone, open_conversation
from varde_contract.ids import ConversationId, EpochId, uuid7

EMAIL = "someone@example.org"
NOWHERE = "019b76da-a800-7000-8000-000000000007"


async def test_an_outsider_learns_nothing_of_a_conversation(api: MemoryApi) -> None:
    """Whatever an outsider asks of a conversation, the answer is the same as of one that is not there."""
    conversation = await open_conversation(api.stores, alice, bob)
    api.memory.epochs.insert(0, (EpochId(uuid7(api.clock(), bytes(10))), {}))  # also while things may be put back

    async def answers(name: ConversationId | str) -> list[tuple[int, str]]:
        path = f"/v1/conversations/{name}"
        acting = str(mallory.profile)
        asked = [
            await api.ask("GET", path, by=mallory_phone),
            await api.ask("GET", f"{path}/statements", by=mallory_phone),
            await api.ask("POST", f"{path}/statements", by=mallory_phone, json=statements(b"let me in")),
            await api.ask("PUT", f"{path}/statements", by=mallory_phone, json=statements(b"let me in")),
            await api.ask("POST", "/v1/messages", by=mallory_phone, json=new_message(name, profile=acting)),
            await api.ask("POST", "/v1/prekeys/claim", by=mallory_phone, json=claim(name, bob_phone)),
        ]
        return [(response.status_code, response.text) for response in asked]

    hidden = await answers(conversation)
    assert hidden == await answers(NOWHERE)
    assert {status for status, _ in hidden} == {404}


async def test_no_answer_repeats_an_address_or_a_code(api: MemoryApi) -> None:
    """Refused sign-ins say nothing that a log in between should not have."""
    await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    responses = [
        await api.ask("POST", "/v1/auth/session", json={"email": EMAIL, "code": "00000000"}),
        await api.ask("POST", "/v1/auth/session", json={"email": EMAIL, "code": "no code"}),
        await api.ask("POST", "/v1/auth/codes", json={"email": f"{EMAIL} "}),
        await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL, "extra": EMAIL}),
        await api.ask("GET", f"/v1/{EMAIL}"),
    ]
    said = " ".join(response.text for response in responses)
    assert EMAIL not in said
    assert "no code" not in said
    assert api.mail.code_for(EMAIL) not in said


async def test_asking_for_a_code_does_not_say_whether_there_is_an_account(api: MemoryApi) -> None:
    """An address that has one, and one that nobody has heard of: the same answer, and a letter each."""
    await api.ask("POST", "/v1/auth/codes", json={"email": EMAIL})
    signed_up = {"email": EMAIL, "code": api.mail.code_for(EMAIL)}
    assert (await api.ask("POST", "/v1/auth/session", json=signed_up)).status_code == httpx.codes.CREATED
    answers = [
        await api.ask("POST", "/v1/auth/codes", json={"email": address}) for address in (EMAIL, "nobody@example.org")
    ]
    assert answers[0].content == answers[1].content
    assert answers[0].status_code == answers[1].status_code == httpx.codes.ACCEPTED
    assert api.mail.code_for(EMAIL) != api.mail.code_for("nobody@example.org")


async def test_requests_at_once_do_not_mix(api: MemoryApi) -> None:
    """Each answer belongs to its own request, however many there are."""
    seen: list[bool] = []

    async def look(device: CastDevice) -> None:
        response = await api.ask("GET", "/v1/account", by=device)
        seen.append(response.json()["account"] == str(device.model.account))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(look, alice_phone)
            nursery.start_soon(look, bob_phone)
    assert seen == [True] * 40
