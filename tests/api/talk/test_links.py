"""Links and user names over HTTP: made, listed, used, found; who guesses is slowed down and learns nothing."""

import os
from base64 import b64encode
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from domain.budgets import ALLOWANCES, Allowance, Budget
from simulation.stores.clock import HOUR
from tests.api.bodies import statements
from tests.api.memory_api import DeviceClient, MemoryApi, open_memory_api, refusal_of
from tests.cast import CastDevice, alice, alice_phone, bob, bob_phone, carol_phone, mallory_phone
from tests.chains import CastSigner, opening
from varde.clock import fresh_id
from varde_contract.links import SECRET_BYTES, PersonLink, token_digest
from varde_contract.people import FoundBy, Theme
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import FoundProfile
from varde_contract.rest.talk import Links, LinkView
from varde_contract.talk import ConversationKind

LINK = PersonLink("https://varde.example", bob.profile, bob.account, bytes(32), os.urandom(SECRET_BYTES))
ENDS = "2026-01-02T00:00:00.250Z"
PATH = f"/v1/links/{fresh_id()}"


def text(raw: bytes) -> str:
    """Bytes as they stand in JSON."""
    return b64encode(raw).decode()


def new_link(link: PersonLink = LINK, **more: object) -> dict[str, object]:
    """What makes a link for one."""
    body = {"profile": str(link.profile), "digest": text(token_digest(link.token)), "uses": 1, "expires_at": ENDS}
    return body | more


def shown(link: PersonLink = LINK) -> dict[str, str]:
    """What its holder shows."""
    return {"account": str(link.account), "profile": str(link.profile), "token": text(link.token)}


async def use(api: MemoryApi, by: CastDevice = alice_phone, **more: Any) -> httpx.Response:
    """Show the link."""
    return await api.ask("POST", "/v1/links/use", by=by, json=shown() | more)


async def test_a_link_is_made_listed_used_and_revoked(api: MemoryApi) -> None:
    """Its owner sees what is left; who used it asks somebody whom nobody else finds."""
    policies = replace(bob.privat.policies, found_by=FoundBy.NOBODY)
    await api.stores.profiles.replace(bob.account, bob.profile, Theme.DARK, policies)
    owner = DeviceClient(api, bob_phone)
    made = await owner.put(LinkView, PATH, new_link(uses=2))
    assert (made.profile, made.uses, made.expires_at.isoformat()) == (
        bob.profile,
        2,
        "2026-01-02T00:00:00.250000+00:00",
    )
    assert await owner.put(LinkView, PATH, new_link(uses=2)) == made
    chain = opening(CastSigner(alice_phone), ConversationKind.DM, bob)
    asked = await api.ask("POST", "/v1/conversations", by=alice_phone, json=statements(*chain.signed))
    assert refusal_of(asked, 404) is RefusalCode.NOT_FOUND
    for _ in range(2):
        done = await use(api)
        assert (done.status_code, done.content) == (204, b""), done.text
    asked = await api.ask("POST", "/v1/conversations", by=alice_phone, json=statements(*chain.signed))
    assert asked.status_code == httpx.codes.CREATED
    (left,) = (await owner.get(Links, "/v1/links")).links
    assert left == replace(made, uses=1)
    await owner.delete(PATH)
    assert (await owner.get(Links, "/v1/links")).links == ()
    assert refusal_of(await use(api, carol_phone), 404) is RefusalCode.NOT_FOUND


async def test_a_stranger_cannot_tell_why_a_link_is_refused(api: MemoryApi) -> None:
    """Unknown, used up, revoked and expired: the same bytes, headers included, but for the time."""
    owner = DeviceClient(api, bob_phone)
    answers = [await use(api, mallory_phone)]
    await owner.put(LinkView, PATH, new_link())
    assert (await use(api)).is_success
    answers.append(await use(api, mallory_phone))
    await owner.delete(PATH)
    answers.append(await use(api, mallory_phone))
    await owner.put(LinkView, PATH, new_link())
    api.clock.advance(48 * HOUR)
    answers.append(await use(api, mallory_phone))
    assert {refusal_of(each, 404) for each in answers} == {RefusalCode.NOT_FOUND}
    said = [(each.content, {k: v for k, v in each.headers.items() if k != "date"}) for each in answers]
    assert said == said[:1] * 4


async def test_nobody_guesses_fast(api: MemoryApi) -> None:
    """Ten at once and ten a minute for an account; guessed names and links count alike, right ones too."""
    await DeviceClient(api, bob_phone).put(LinkView, PATH, new_link())
    for number in range(10):
        guess = await use(api, mallory_phone, token=text(bytes([number]) * 32))
        assert refusal_of(guess, 404) is RefusalCode.NOT_FOUND
    refused = await use(api, mallory_phone)
    assert refusal_of(refused, 429) is RefusalCode.RATE_LIMITED
    assert int(refused.headers["retry-after"]) <= 7
    names = await api.ask("POST", "/v1/user-names/find", by=mallory_phone, json={"name": "bob.b"})
    assert refusal_of(names, 429) is RefusalCode.RATE_LIMITED
    assert (await use(api)).is_success


async def test_a_network_of_accounts_guesses_no_faster() -> None:
    """Whoever makes accounts without end comes from somewhere."""
    allowances = {**ALLOWANCES, Budget.LOOK_UPS: Allowance(10_000, 1, "never")}
    async with open_memory_api(allowances=allowances) as api:
        for number in range(120):
            by = (mallory_phone, carol_phone, alice_phone)[number % 3]
            refusal_of(await use(api, by), 404)
        assert refusal_of(await use(api, bob_phone), 429) is RefusalCode.RATE_LIMITED
        names = await api.ask("POST", "/v1/user-names/find", by=bob_phone, json={"name": "bob.b"})
        assert "network" in names.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        *({"token": "AAAA"}, {"token": "A" * 1_000_000}, {"token": ""}, {"account": "bob"}, {"secret": "?"}),
        *({"profile": "0192f0c1-7b3e-4c55-9d1a-0e4b7e1d2c3f"}, {"token": None}),
    ],
)
async def test_what_is_no_token_is_refused_by_its_shape(api: MemoryApi, body: dict[str, Any]) -> None:
    """A forged or truncated one, and one of a megabyte; no answer repeats it."""
    response = await use(api, mallory_phone, **body)
    assert refusal_of(response, 400) is RefusalCode.MALFORMED
    assert len(response.content) < 500


@pytest.mark.parametrize(
    "body",
    [{"uses": 0}, {"uses": 1_001}, {"digest": "AAAA"}, {"expires_at": "soon"}, {"expires_at": "2026-01-02T00:00:00"}],
)
async def test_a_link_has_its_bounds(api: MemoryApi, body: dict[str, Any]) -> None:
    """Each by name."""
    response = await api.ask("PUT", PATH, by=bob_phone, json=new_link(**body))
    assert refusal_of(response, 400) is RefusalCode.MALFORMED
    assert next(iter(body)) in response.json()["detail"]


async def test_links_of_others_are_not_there(api: MemoryApi) -> None:
    """To make one to somebody else's profile is refused, and to end somebody else's does nothing."""
    made = await api.ask("PUT", PATH, by=mallory_phone, json=new_link())
    assert refusal_of(made, 404) is RefusalCode.NOT_FOUND
    past = await api.ask("PUT", PATH, by=bob_phone, json=new_link(expires_at="2001-01-01T00:00:00Z"))
    assert refusal_of(past, 403) is RefusalCode.NOT_ALLOWED
    await DeviceClient(api, bob_phone).put(LinkView, PATH, new_link())
    await DeviceClient(api, mallory_phone).delete(PATH)
    assert (await use(api)).is_success


async def test_the_page_of_a_link_has_no_script_and_knows_nothing(api: MemoryApi) -> None:
    """For a browser that opens one: how to go on, in plain HTML that loads nothing and may run nothing."""
    page = await api.client.get("/i")
    assert page.status_code == httpx.codes.OK
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    lowered = page.text.lower()
    assert not any(
        part in lowered for part in ("<script", "javascript", "<img", "<iframe", "<form", "<link", "src=", "onload")
    )
    assert "varde join" in page.text
    assert "pip install varde" in page.text
    # Whatever the address is: nothing of a request is in the page.
    for path in ("/i?invite=x", "/i?%3Cscript%3E"):
        assert (await api.client.get(path)).content == page.content
    assert (await api.client.get("/i/")).status_code == httpx.codes.NOT_FOUND
    assert (await api.client.post("/i")).status_code == httpx.codes.METHOD_NOT_ALLOWED


async def test_a_user_name_is_set_found_and_removed(api: MemoryApi) -> None:
    """By its owner, by who knows it whole."""
    owner, path = DeviceClient(api, bob_phone), f"/v1/profiles/{bob.profile}/user-name"
    done = await api.ask("PUT", path, by=bob_phone, json={"name": "Bob.B"})
    assert (done.status_code, done.content) == (204, b""), done.text
    other = DeviceClient(api, alice_phone)
    found = await other.post(FoundProfile, "/v1/user-names/find", {"name": "@bob.b"}, status=200)
    assert found == FoundProfile(bob.profile)
    taken = await api.ask("PUT", f"/v1/profiles/{alice.profile}/user-name", by=alice_phone, json={"name": "b0b_b"})
    assert refusal_of(taken, 409) is RefusalCode.NAME_TAKEN
    none = await api.ask("PUT", path, by=bob_phone, json={"name": "a b"})
    assert refusal_of(none, 403) is RefusalCode.NOT_ALLOWED
    await owner.delete(path)
    gone = await api.ask("POST", "/v1/user-names/find", by=alice_phone, json={"name": "bob.b"})
    assert refusal_of(gone, 404) is RefusalCode.NOT_FOUND


async def test_there_is_no_list_of_user_names(api: MemoryApi) -> None:
    """No path shows one, and no pattern is a name."""
    for method, path in (("GET", "/v1/user-names"), ("GET", "/v1/user-names/find"), ("POST", "/v1/user-names")):
        assert (await api.ask(method, path, by=alice_phone)).status_code in {404, 405}
    await api.ask("PUT", f"/v1/profiles/{bob.profile}/user-name", by=bob_phone, json={"name": "bob.b"})
    for pattern in ("bob%", "bob.?", "*", "bob", "_ob.b"):
        response = await api.ask("POST", "/v1/user-names/find", by=alice_phone, json={"name": pattern})
        assert refusal_of(response, 404) is RefusalCode.NOT_FOUND
