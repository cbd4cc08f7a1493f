"""The root key: set once, only a real key, and never another."""

import pytest

from domain.people.model import Account, Actor
from tests.cast import BIRTH_MS, alice, alice_phone, bob
from tests.domain.registry import Registry, code_of
from varde_contract.refusals import RefusalCode


@pytest.fixture
async def registry() -> Registry:
    """A server where Alice has an account without a root key."""
    made = Registry()
    await made.stores.sign_in.account_of(alice.address, alice.account, BIRTH_MS)
    return made


@pytest.fixture
def actor() -> Actor:
    """Alice, in a session without a device."""
    return Actor(alice.account, alice_phone.session.id, None)


async def test_a_root_key_is_set_and_shown(registry: Registry, actor: Actor) -> None:
    """The account has the key from then on."""
    account = await registry.accounts.set_root_key(actor, alice.root_key)
    assert account == Account(alice.account, BIRTH_MS, alice.root_key)
    assert await registry.accounts.find(actor) == account


async def test_the_same_root_key_again_changes_nothing(registry: Registry, actor: Actor) -> None:
    """A client that lost the answer asks again and gets it."""
    first = await registry.accounts.set_root_key(actor, alice.root_key)
    assert await registry.accounts.set_root_key(actor, alice.root_key) == first


async def test_refusal_root_key_set(registry: Registry, actor: Actor) -> None:
    """A stolen session cannot put another root key in place of the person's own."""
    await registry.accounts.set_root_key(actor, alice.root_key)
    assert code_of(await registry.accounts.set_root_key(actor, bob.root_key)) is RefusalCode.ROOT_KEY_SET
    account = await registry.accounts.find(actor)
    assert isinstance(account, Account)
    assert account.root_key == alice.root_key


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
async def test_refusal_bad_key_for_a_root_key(registry: Registry, actor: Actor, key: bytes) -> None:
    """A root key under which anybody could forge signatures is refused, and the account stays without one."""
    assert code_of(await registry.accounts.set_root_key(actor, key)) is RefusalCode.BAD_KEY
    account = await registry.accounts.find(actor)
    assert isinstance(account, Account)
    assert account.root_key is None


async def test_refusal_unauthenticated_when_the_account_is_gone(registry: Registry) -> None:
    """A session of an account that was erased belongs to nobody."""
    gone = Actor(bob.account, alice_phone.session.id, None)
    assert code_of(await registry.accounts.find(gone)) is RefusalCode.UNAUTHENTICATED
