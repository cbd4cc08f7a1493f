"""The account itself."""

from typing import Final

from domain.people.model import Account, Actor
from domain.people.ports import AccountStore
from varde_contract.refusals import RefusalCode, Refused

_GONE: Final = Refused(RefusalCode.UNAUTHENTICATED, "The account is gone. Sign in again.")


class Accounts:
    """All accounts, each seen by its owner."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    async def find(self, actor: Actor) -> Account | Refused:
        """Return the actor's account. Refuses `unauthenticated` when it was erased meanwhile."""
        return await self._store.find(actor.account) or _GONE
