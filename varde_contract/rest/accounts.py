"""The account itself."""

from msgspec import Struct

from varde_contract.ids import AccountId
from varde_contract.rest.fields import Instant, Key


class RootKey(Struct, frozen=True, forbid_unknown_fields=True):
    """The Ed25519 public key that signs the account's devices. Set once."""

    root_key: Key


class AccountView(Struct, frozen=True):
    """The account, as its owner sees it."""

    account: AccountId
    created_at: Instant
    root_key: Key | None
