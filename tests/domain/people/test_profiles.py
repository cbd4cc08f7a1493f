"""Profiles: the modes of one's own account, and of nobody else's."""

import pytest

from domain.people.events import ProfileChanged
from domain.people.profiles import Opening
from tests.cast import BIRTH_MS, alice, alice_phone, bob, carol, mallory
from tests.domain.registry import Registry, code_of
from tests.ids import id_of
from varde_contract.ids import ProfileId
from varde_contract.limits import PROFILES_PER_ACCOUNT
from varde_contract.people import Notifications, Policies, ProfileType, Theme
from varde_contract.refusals import RefusalCode, Refused

QUIET = Policies(notifications=Notifications.NONE, read_receipts=False)
NOBODY = ProfileId(id_of(7))
SALT = bytes(range(32))


@pytest.fixture
async def registry() -> Registry:
    """A server where Alice and Bob have two profiles each."""
    made = Registry()
    await made.settle(alice, bob)
    return made


async def test_a_profile_is_made_listed_and_shown(registry: Registry) -> None:
    """What was asked for is there, and found by its id."""
    made = await registry.profiles.create(alice_phone.actor, ProfileType.JOBB, Theme.DARK, QUIET, SALT)
    assert not isinstance(made, Refused)
    assert (made.type, made.theme, made.policies, made.salt) == (ProfileType.JOBB, Theme.DARK, QUIET, SALT)
    assert await registry.profiles.find(alice_phone.actor, made.id) == made
    assert list(await registry.profiles.list_all(alice_phone.actor)) == [alice.privat, alice.jobb, made]


async def test_refusal_too_many_profiles(registry: Registry) -> None:
    """An account has eight profiles at most."""
    for _ in range(PROFILES_PER_ACCOUNT - 2):
        await registry.profiles.create(alice_phone.actor, ProfileType.PRIVAT, Theme.LIGHT, Policies(), SALT)
    refused = await registry.profiles.create(alice_phone.actor, ProfileType.PRIVAT, Theme.LIGHT, Policies(), SALT)
    assert code_of(refused) is RefusalCode.TOO_MANY
    assert len(await registry.profiles.list_all(alice_phone.actor)) == PROFILES_PER_ACCOUNT


async def test_replacing_is_announced_to_every_relay(registry: Registry) -> None:
    """A relay that keeps the old policies would go on sending read receipts."""
    replaced = await registry.profiles.replace(alice_phone.actor, alice.profile, Theme.DARK, QUIET)
    assert not isinstance(replaced, Refused)
    assert (replaced.theme, replaced.policies) == (Theme.DARK, QUIET)
    assert registry.bus.published == [ProfileChanged(alice.profile)]


async def test_refusal_not_found_for_the_profile_of_another(registry: Registry) -> None:
    """Somebody else's profile answers as one that does not exist, and stays as it is."""
    actor = alice_phone.actor
    for profile in (bob.profile, NOBODY):
        assert code_of(await registry.profiles.find(actor, profile)) is RefusalCode.NOT_FOUND
        assert code_of(await registry.profiles.replace(actor, profile, Theme.DARK, QUIET)) is RefusalCode.NOT_FOUND
    assert registry.memory.profiles[bob.profile] == bob.privat
    assert registry.bus.published == []


async def test_a_profile_is_opened_to_who_may_write_to_it(registry: Registry) -> None:
    """Whoever knows the id is told the account and the salt, with which its device lists show the profile."""
    opening = await registry.profiles.opening(alice.profile)
    assert opening == Opening(alice.profile, alice.account, alice.privat.salt, 2)


async def test_refusal_not_found_for_a_profile_that_cannot_be_written_to(registry: Registry) -> None:
    """One that does not exist, and one whose account has no device list yet, answer the same."""
    await registry.stores.sign_in.account_of(carol.address, carol.account, BIRTH_MS)
    await registry.stores.profiles.add(carol.privat, 8)
    for profile in (carol.profile, mallory.profile):
        assert code_of(await registry.profiles.opening(profile)) is RefusalCode.NOT_FOUND
