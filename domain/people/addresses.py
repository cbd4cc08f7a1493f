"""E-mail addresses, which the server uses and does not keep: how they are spelled, and their keyed digest.

User names, networks and codes have keyed digests, too.

Two addresses with one digest are one person here, so a code always goes to the normal spelling: were it mailed as
typed, somebody whose address folds to the same letters could take the account over.
"""

import hashlib
import hmac
import unicodedata

_ADDRESS = b"varde.v1 address\x00"
_CODE = b"varde.v1 one-time code\x00"
_NETWORK = b"varde.v1 network\x00"
_NAME = b"varde.v2 user name\x00"
_SKELETON = b"varde.v2 user name skeleton\x00"


def normal_address(typed: str) -> str:
    """Return the one spelling of an address: stripped, case folded, Unicode NFC. Applied twice, it changes nothing."""
    folded = unicodedata.normalize("NFC", typed.strip()).casefold()
    # Folding may take composed letters apart, and putting them together may leave some to fold.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", folded).casefold())


def address_digest(pepper: bytes, normal: str) -> bytes:
    """Return what stands for the address in the database: HMAC-SHA256 under the server's pepper, 32 bytes."""
    return _keyed(pepper, _ADDRESS + normal.encode())


def code_digest(pepper: bytes, normal: str, code: str) -> bytes:
    """Return what stands for a code mailed to the address. No address can hold the zero byte between the two."""
    return _keyed(pepper, _CODE + normal.encode() + b"\x00" + code.encode())


def name_digest(pepper: bytes, name: str) -> bytes:
    """Return what stands for a user name in the database."""
    return _keyed(pepper, _NAME + name.encode())


def skeleton_digest(pepper: bytes, skeleton: str) -> bytes:
    """Return what stands there for all user names that look alike."""
    return _keyed(pepper, _SKELETON + skeleton.encode())


def network_key(pepper: bytes, network: str) -> bytes:
    """Return what stands for a network where sign-ins are counted: there are too few of them for a hash without key."""
    return _keyed(pepper, _NETWORK + network.encode())


def _keyed(pepper: bytes, message: bytes) -> bytes:
    return hmac.digest(pepper, message, hashlib.sha256)
