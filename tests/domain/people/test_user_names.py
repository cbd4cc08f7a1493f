"""User names at the server: exact, keyed, nobody's twice, and found by whom their owner lets find them."""

import pytest
from msgspec.structs import replace

from domain.people.user_names import HELD, UserNames
from tests.cast import CastDevice, alice, alice_phone, bob, bob_phone, mallory_phone, open_conversation
from tests.domain.registry import PEPPER, Registry, code_of
from varde_contract.ids import ProfileId
from varde_contract.limits import USER_NAMES_PER_ACCOUNT
from varde_contract.people import FoundBy, Theme
from varde_contract.refusals import RefusalCode, Refused


@pytest.fixture
async def registry() -> Registry:
    """A server that knows the cast, where Bob is called bob.b."""
    made = Registry()
    await made.settle()
    assert await made.user_names.put(bob_phone.actor, bob.profile, "Bob.B") is None
    return made


async def found(registry: Registry, typed: str, by: CastDevice = alice_phone) -> object:
    """Whom somebody finds."""
    return await registry.user_names.find(by.actor, typed)


async def test_a_whole_name_is_found_and_nothing_like_it(registry: Registry) -> None:
    """However it is typed; not by its beginning, nor by a name that looks like it."""
    for typed in ("bob.b", "  @BOB.b", "\uff22ob.b"):
        assert await found(registry, typed) == bob.profile
    for typed in ("bob", "bob.", "bob.b1", "b0b.b", "bobb", "bob_b", "", "%", "*", "x" * 1_000_000):
        assert code_of(await found(registry, typed)) is RefusalCode.NOT_FOUND


async def test_the_policy_says_who_finds_a_name(registry: Registry) -> None:
    """Everyone, who shares a conversation, nobody: to all others the answer is that of a name that nobody has."""
    unknown = await found(registry, "somebody.else")
    for policy in (FoundBy.SHARED, FoundBy.NOBODY):
        policies = replace(bob.privat.policies, found_by=policy)
        await registry.profiles.replace(bob_phone.actor, bob.profile, Theme.DARK, policies)
        assert await found(registry, "bob.b") == unknown
    policies = replace(bob.privat.policies, found_by=FoundBy.SHARED)
    await registry.profiles.replace(bob_phone.actor, bob.profile, Theme.DARK, policies)
    await open_conversation(registry.stores, alice, bob)
    assert await found(registry, "bob.b") == bob.profile
    assert await found(registry, "bob.b", mallory_phone) == unknown


async def test_the_same_is_asked_of_a_name_that_nobody_has(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question of the store for each: how long it takes says nothing."""
    asked: list[int] = []
    honest = registry.stores.consent.reach

    async def count(account: object, profiles: object, now_ms: int) -> object:
        asked.append(now_ms)
        return await honest(account, profiles, now_ms)  # type: ignore[arg-type]

    monkeypatch.setattr(registry.stores.consent, "reach", count)
    await found(registry, "bob.b")
    await found(registry, "somebody.else")
    assert len(asked) == 2


async def test_nothing_stored_is_a_name(registry: Registry) -> None:
    """Under another pepper the same names are other bytes."""
    stored = repr(registry.memory.user_names)
    assert "bob" not in stored
    (skeleton,) = registry.memory.user_names
    other = Registry()
    await other.settle()
    other.user_names = _names(other, b"o" * 32)
    await other.user_names.put(bob_phone.actor, bob.profile, "bob.b")
    assert set(other.memory.user_names) != {skeleton}


def _names(registry: Registry, pepper: bytes, *other_peppers: bytes) -> UserNames:
    stores = registry.stores
    return UserNames(
        stores.user_names,
        stores.profiles,
        registry.consent.may_ask,
        pepper=pepper,
        other_peppers=other_peppers,
        clock=registry.clock,
    )


async def test_names_live_through_a_change_of_the_pepper(registry: Registry) -> None:
    """Whoever is looked up comes under the new one; nobody takes a name of before."""
    changed = _names(registry, b"n" * 32, PEPPER)
    taken = await changed.put(alice_phone.actor, alice.profile, "b0b.b")
    assert code_of(taken) is RefusalCode.NAME_TAKEN
    assert await changed.find(alice_phone.actor, "bob.b") == bob.profile
    after = _names(registry, b"n" * 32)
    assert await after.find(alice_phone.actor, "bob.b") == bob.profile


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("b0b_b", RefusalCode.NAME_TAKEN),
        ("admin", RefusalCode.NAME_TAKEN),
        ("varde.team", RefusalCode.NAME_TAKEN),
        ("two words", RefusalCode.NOT_ALLOWED),
        ("\u0430lice", RefusalCode.NOT_ALLOWED),
        ("0192f0c17b3e7c559d1a0e4b7e1d2c3f", RefusalCode.NOT_ALLOWED),
    ],
)
async def test_not_every_name_is_given_away(registry: Registry, typed: str, code: RefusalCode) -> None:
    """Taken, reserved, none at all; and no answer repeats it."""
    refused = await registry.user_names.put(alice_phone.actor, alice.profile, typed)
    assert isinstance(refused, Refused)
    assert refused.code is code
    assert typed not in refused.detail


async def test_a_name_is_given_up_and_held(registry: Registry) -> None:
    """Nobody else has it for a month; of somebody else's profile nobody gives or takes a name."""
    assert code_of(await registry.user_names.put(mallory_phone.actor, bob.profile, "mine")) is RefusalCode.NOT_FOUND
    await registry.user_names.remove(mallory_phone.actor, bob.profile)
    assert await found(registry, "bob.b") == bob.profile
    await registry.user_names.remove(bob_phone.actor, bob.profile)
    assert code_of(await found(registry, "bob.b")) is RefusalCode.NOT_FOUND
    refused = await registry.user_names.put(mallory_phone.actor, _profile(mallory_phone), "bob.b")
    assert code_of(refused) is RefusalCode.NAME_TAKEN
    registry.clock.advance(HELD)
    assert await registry.user_names.put(mallory_phone.actor, _profile(mallory_phone), "bob.b") is None


def _profile(device: CastDevice) -> ProfileId:
    return device.model.profiles[0]


async def test_an_account_hoards_no_names(registry: Registry) -> None:
    """Changing without end keeps sixteen from others, and no more."""
    answers = [await registry.user_names.put(alice_phone.actor, alice.profile, f"alice{n}x") for n in range(20)]
    assert [each is None for each in answers] == [n < USER_NAMES_PER_ACCOUNT for n in range(20)]
    assert code_of(answers[-1]) is RefusalCode.TOO_MANY
