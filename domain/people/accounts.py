"""The account itself and its root key, which signs the account's devices.

The root key's private half lives with the person, as the recovery phrase.
"""

from typing import Final

from domain.people.model import Account, Actor
from domain.people.ports import AccountStore
from varde_contract.public_keys import is_good_signing_key
from varde_contract.refusals import RefusalCode, Refused

_GONE: Final = Refused(RefusalCode.UNAUTHENTICATED, "The account is gone. Sign in again.")
_BAD_KEY: Final = Refused(RefusalCode.BAD_KEY, "The root key is not an Ed25519 public key. Make a new one.")
_SET: Final = Refused(
    RefusalCode.ROOT_KEY_SET, "The account has another root key already. Enter its recovery phrase on this device."
)


class Accounts:
    """All accounts, each seen by its owner."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    async def find(self, actor: Actor) -> Account | Refused:
        """Return the actor's account. Refuses `unauthenticated` when it was erased meanwhile."""
        return await self._store.find(actor.account) or _GONE

    async def set_root_key(self, actor: Actor, root_key: bytes) -> Account | Refused:
        """Set the Ed25519 root key, once; the same key again changes nothing. Refuses `bad-key` and `root-key-set`."""
        if not is_good_signing_key(root_key):
            return _BAD_KEY
        # Once: whoever could replace it could sign devices of his own into the account.
        if not await self._store.set_root_key(actor.account, root_key):
            return _SET
        return await self.find(actor)
