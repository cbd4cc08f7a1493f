"""The account, as its owner sees it."""

from domain.people.model import Account, Actor
from tests.cast import BIRTH_MS, alice, alice_phone, bob
from tests.domain.registry import Registry, code_of
from varde_contract.refusals import RefusalCode


async def test_an_account_is_shown_with_its_newest_list() -> None:
    """Number 0 before the first."""
    registry = Registry()
    await registry.stores.sign_in.account_of(bob.address, bob.account, BIRTH_MS)
    await registry.settle(alice)
    assert await registry.accounts.find(alice_phone.actor) == Account(alice.account, BIRTH_MS, 2)
    new = Actor(bob.account, alice_phone.session.id, None)
    assert await registry.accounts.find(new) == Account(bob.account, BIRTH_MS, 0)


async def test_refusal_unauthenticated_when_the_account_is_gone() -> None:
    """A session of an account that was erased belongs to nobody."""
    gone = Actor(bob.account, alice_phone.session.id, None)
    assert code_of(await Registry().accounts.find(gone)) is RefusalCode.UNAUTHENTICATED
