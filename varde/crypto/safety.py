"""The safety number of two accounts: what two people read to each other to know that nobody stands between them."""

import hashlib

from varde_contract.ids import AccountId

ROUNDS = 5_200
"""What makes a search for a root key with similar digits cost that many hashes a try."""
GROUPS_EACH = 6
GROUP_BYTES = 5
GROUP_DIGITS = 5

_LABEL = b"varde.v1 safety number\x00"


def safety_number(one: tuple[AccountId, bytes], other: tuple[AccountId, bytes]) -> str:
    """Return the digits of two accounts with their root keys, in groups of five, the same from both sides."""
    return " ".join(sorted((_digits(*one), _digits(*other))))


def _digits(account: AccountId, root_key: bytes) -> str:
    digest = statement = _LABEL + account.bytes + root_key
    for _ in range(ROUNDS):
        digest = hashlib.sha512(digest + statement).digest()
    groups = (digest[start : start + GROUP_BYTES] for start in range(0, GROUPS_EACH * GROUP_BYTES, GROUP_BYTES))
    return " ".join(f"{int.from_bytes(group, 'big') % 10**GROUP_DIGITS:0{GROUP_DIGITS}}" for group in groups)
