"""Invite links to people at the server: who was given one may ask, so often and so long, and nobody learns why not."""

import hmac
import os
from typing import Final

import pytest
from msgspec.structs import replace

from domain.people.model import Actor
from domain.talk.chains import Opened
from domain.talk.events import Invited
from domain.talk.model import Link
from simulation.stores.clock import MINUTE
from tests.cast import (
    CastDevice,
    Person,
    alice,
    alice_phone,
    bob,
    bob_laptop,
    bob_phone,
    carol_phone,
    dave_phone,
    mallory_phone,
)
from tests.chains import CastSigner, opening
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde.clock import fresh_id
from varde_contract.ids import ClientId, ConversationId, DeviceId, LinkId
from varde_contract.limits import LINK_DAYS, LINKS_PER_ACCOUNT
from varde_contract.links import SECRET_BYTES, PersonLink, token_digest
from varde_contract.people import FoundBy, Theme
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import FirstWords
from varde_contract.talk import ConversationKind

DM: Final = ConversationKind.DM
DAY_MS: Final = 24 * 60 * 60 * 1_000


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast, where Bob is found by nobody."""
    made = Registry()
    await made.settle()
    policies = replace(bob.privat.policies, found_by=FoundBy.NOBODY)
    await made.profiles.replace(bob_phone.actor, bob.profile, Theme.DARK, policies)
    return made


def link_to(person: Person = bob) -> PersonLink:
    """A link that nobody has heard of."""
    return PersonLink("https://varde.example", person.profile, person.account, bytes(32), os.urandom(SECRET_BYTES))


async def make(
    registry: Registry,
    link: PersonLink,
    number: int = 1,
    *,
    uses: int = 1,
    by: CastDevice = bob_phone,
    ends: int = MINUTE,
) -> Link | Refused:
    """Tell the server of a link, as its owner's client does."""
    return await registry.links.put(
        by.actor,
        LinkId(id_of(number)),
        link.profile,
        digest=token_digest(link.token),
        uses=uses,
        expires_ms=registry.clock() + ends,
    )


async def use(registry: Registry, link: PersonLink, by: CastDevice) -> Refused | None:
    """Show a link."""
    return await registry.links.use(by.actor, link.account, link.profile, link.token)


async def ask(registry: Registry, by: CastDevice, whom: Person = bob, number: int = 50) -> Opened | Refused:
    """Open a dm with somebody."""
    chain = opening(CastSigner(by), DM, whom, conversation=ConversationId(id_of(number)))
    return await registry.chains.open(by.actor, chain.signed)


async def test_who_has_a_link_asks_somebody_whom_nobody_finds(registry: Registry) -> None:
    """And is verified by them; others find nobody there, and so does who has used a link to somebody else."""
    link = link_to()
    assert isinstance(await make(registry, link), Link)
    assert code_of(await ask(registry, alice_phone)) is RefusalCode.NOT_FOUND
    assert not await registry.consent.may_find(alice_phone.actor, bob.profile)
    assert await use(registry, link, alice_phone) is None
    assert await registry.consent.may_find(alice_phone.actor, bob.profile)
    assert isinstance(await ask(registry, alice_phone), Opened)
    assert code_of(await ask(registry, carol_phone, number=51)) is RefusalCode.NOT_FOUND


async def test_a_link_costs_no_budget_of_strangers(registry: Registry) -> None:
    """Whoever was asked to ask is no stranger."""
    link = link_to()
    await make(registry, link)
    await use(registry, link, alice_phone)
    while registry.budgets.spend(alice.account, "strangers") is None:  # type: ignore[arg-type]
        pass
    assert isinstance(await ask(registry, alice_phone), Opened)


async def test_every_reason_has_one_answer(registry: Registry) -> None:
    """Unknown, used up, expired, revoked, of another profile or account: a stranger cannot tell one from another."""
    used, revoked, expired = link_to(), link_to(), link_to()
    for number, link in enumerate((used, revoked, expired), start=1):
        assert isinstance(await make(registry, link, number), Link)
    assert await use(registry, used, dave_phone) is None
    await registry.links.revoke(bob_phone.actor, LinkId(id_of(2)))
    answers = [
        await use(registry, used, mallory_phone),
        await use(registry, revoked, mallory_phone),
        await use(registry, link_to(), mallory_phone),
        await use(registry, replace(expired, profile=bob.jobb.id), mallory_phone),
        await use(registry, replace(expired, account=alice.account), mallory_phone),
    ]
    registry.clock.advance(MINUTE)
    answers.append(await use(registry, expired, mallory_phone))
    assert answers == [answers[0]] * 6
    assert code_of(answers[0]) is RefusalCode.NOT_FOUND


async def test_every_link_is_compared_in_constant_time(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """All links of the profile, whichever fits and whether one does: by `compare_digest`."""
    links = [link_to() for _ in range(5)]
    for number, link in enumerate(links):
        await make(registry, link, number)
    compared: list[bytes] = []
    honest = hmac.compare_digest

    def count(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return honest(one, other)

    monkeypatch.setattr("domain.talk.links.hmac.compare_digest", count)
    for shown in (links[0], links[4], link_to()):
        compared.clear()
        await use(registry, shown, alice_phone)
        assert compared == [token_digest(link.token) for link in links]


async def test_what_the_server_keeps_opens_nothing(registry: Registry) -> None:
    """Neither the digest, shown as a token, nor anything else of what is stored."""
    link = link_to()
    made = await make(registry, link)
    assert isinstance(made, Link)
    stored = repr(registry.memory.links)
    assert repr(link.secret) not in stored
    assert repr(link.token) not in stored
    shown = await registry.links.use(mallory_phone.actor, bob.account, bob.profile, made.digest)
    assert code_of(shown) is RefusalCode.NOT_FOUND


async def test_a_thousand_links_are_too_many(registry: Registry) -> None:
    """64 at once; of others nobody makes one, and only for a time that a link can have."""
    made = [await make(registry, link_to(), number) for number in range(1_000)]
    assert sum(isinstance(each, Link) for each in made) == LINKS_PER_ACCOUNT
    assert {code_of(each) for each in made[LINKS_PER_ACCOUNT:]} == {RefusalCode.TOO_MANY}
    assert len(await registry.links.list_all(bob_phone.actor)) == LINKS_PER_ACCOUNT
    assert code_of(await make(registry, link_to(), by=mallory_phone)) is RefusalCode.NOT_FOUND
    for ends in (0, -1, LINK_DAYS * DAY_MS + 1):
        assert code_of(await make(registry, link_to(alice), by=alice_phone, ends=ends)) is RefusalCode.NOT_ALLOWED


async def test_links_are_their_owners_to_see_and_revoke(registry: Registry) -> None:
    """Nobody else's list has them, and nobody else ends them."""
    link = link_to()
    made = await make(registry, link)
    assert await registry.links.list_all(bob_laptop.actor) == [made]
    assert await registry.links.list_all(mallory_phone.actor) == []
    await registry.links.revoke(mallory_phone.actor, LinkId(id_of(1)))
    assert await use(registry, link, alice_phone) is None
    assert await registry.links.list_all(bob_phone.actor) == []  # used up


async def test_who_did_not_ask_before_it_was_revoked_does_not_any_more(registry: Registry) -> None:
    """To have shown a link is no right for ever."""
    link = link_to()
    await make(registry, link)
    await use(registry, link, alice_phone)
    await registry.links.revoke(bob_phone.actor, LinkId(id_of(1)))
    assert code_of(await ask(registry, alice_phone)) is RefusalCode.NOT_FOUND


async def test_the_first_words_are_told_to_whom_they_are_for(registry: Registry) -> None:
    """They may carry the proof of a link. Devices of others, which who writes may name, are told nothing."""
    link = link_to()
    await make(registry, link)
    await use(registry, link, alice_phone)
    opened = await ask(registry, alice_phone)
    assert isinstance(opened, Opened)
    devices = dict.fromkeys((bob_phone.id, carol_phone.id, DeviceId(id_of(77))), b"sealed")
    said = FirstWords(ClientId(fresh_id()), alice.profile, devices)

    async def told(by: Actor) -> list[object]:
        registry.bus.published.clear()
        await registry.consent.put_words(by, opened.conversation, bob.profile, said)
        return list(registry.bus.published)

    assert await told(alice_phone.actor) == [Invited(bob_phone.id)]
    assert await told(mallory_phone.actor) == []
    await registry.consent.block(bob_phone.actor, alice.account)
    assert await told(alice_phone.actor) == []
