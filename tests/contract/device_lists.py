"""Accounts that sign device lists, with keys that are the same on every run."""

import hashlib
from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from varde_contract.device_list import (
    DeviceList,
    ListedDevice,
    SignedDeviceList,
    commitment,
    encode,
    list_hash,
    sign_list,
    statement_to_sign,
)
from varde_contract.ids import AccountId, DeviceId, ProfileId

NOW_MS: Final = 1_767_225_600_000
DAY_MS: Final = 86_400_000
ACCOUNT: Final = AccountId(UUID("019b76da-a800-7000-8000-00000000000a"))
PROFILE: Final = ProfileId(UUID("019b76da-a800-7000-8000-0000000000a1"))
SALT: Final = bytes(range(32))


def signing_key(name: str) -> Ed25519PrivateKey:
    """The signing key of a device, or a root key, by its name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"signing {name}".encode()).digest())


def public(name: str) -> bytes:
    """The public half of `signing_key`."""
    return signing_key(name).public_key().public_bytes_raw()


def exchange_key(name: str) -> bytes:
    """A Curve25519 public key by its name."""
    private = X25519PrivateKey.from_private_bytes(hashlib.sha256(f"exchange {name}".encode()).digest())
    return private.public_key().public_bytes_raw()


def device_id(name: str) -> DeviceId:
    """The id of a device by its name; ids are in the order of `ord` of their first letters."""
    return DeviceId(UUID(f"019b76da-a800-7000-8000-{int.from_bytes(name.encode()[:6].ljust(6)):012x}"))


def device(name: str, *, manager: bool = False, valid_until_ms: int | None = None, **other: Any) -> ListedDevice:
    """A device by its name."""
    fields: dict[str, Any] = {
        "device": device_id(name),
        "noise_key": exchange_key(f"noise {name}"),
        "signing_key": public(name),
        "identity_key": exchange_key(f"identity {name}"),
        "profiles": (commitment(PROFILE, SALT),),
        "manager": manager,
        "valid_until_ms": valid_until_ms,
    }
    return ListedDevice(**fields | other)


def first(*devices: ListedDevice, root: str = "root", **other: Any) -> DeviceList:
    """A first list."""
    fields: dict[str, Any] = {
        "account": ACCOUNT,
        "number": 1,
        "previous": None,
        "root_key": public(root),
        "devices": devices,
        "pending_root": None,
        "issued_ms": NOW_MS,
    }
    return DeviceList(**fields | other)


def following(previous: DeviceList, **other: Any) -> DeviceList:
    """The list after `previous`, the same but for what is given."""
    fields: dict[str, Any] = {name: getattr(previous, name) for name in DeviceList.__struct_fields__}
    fields |= {"number": previous.number + 1, "previous": list_hash(previous), "issued_ms": previous.issued_ms + 1}
    return DeviceList(**fields | other)


def sign(devices: DeviceList, *names: str, roots: Iterable[str] = ()) -> SignedDeviceList:
    """The list, signed by these root keys and these devices."""
    statement = statement_to_sign(encode(devices))
    signatures = {device_id(name): signing_key(name).sign(statement) for name in names}
    return sign_list(devices, signatures, *(signing_key(root).sign(statement) for root in roots))
