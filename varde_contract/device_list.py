"""An account's devices as one signed, numbered list: its bytes, its signatures, and how a list follows the one before.

Every list names the hash of the one before, so that an account has one history. The root key signs a list, or a manager
of the list before. Server and clients judge with the same function.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from varde_contract import codec
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, DeviceId, ProfileId, decode_binary_id
from varde_contract.limits import DEVICES_PER_ACCOUNT, PROFILES_PER_ACCOUNT, SECOND_MS, SEQ_MAX
from varde_contract.public_keys import is_good_exchange_key, is_good_signing_key, is_signed
from varde_contract.signed_statements import KEY_BYTES, SIGNATURE_BYTES

HASH_BYTES: Final = 32
SALT_BYTES: Final = 32
DEVICE_LIST_BYTES: Final = 16 * 1024
"""No signed list is longer: 16 devices with 8 profiles each, and a signature of each, have 8 KiB."""
UUID_VERSION: Final = 7
CLOCK_SKEW_MS: Final = 3_600 * SECOND_MS
"""How far the clocks of a signer and the server may differ."""
ROOT_KEY_DELAY_MS: Final = 7 * 24 * 3_600 * SECOND_MS
"""How long a root key is announced before it signs: time for the owner of the old one to cancel it."""

_LIST: Final = b"varde.v2 device list\x00"
_PROFILE: Final = b"varde.v2 profile\x00"

T = TypeVar("T")

Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
PublicKey = Annotated[bytes, Meta(min_length=KEY_BYTES, max_length=KEY_BYTES)]
Milliseconds = Annotated[int, Meta(ge=0, le=SEQ_MAX)]


class ListedDevice(Struct, frozen=True, array_like=True):
    """A device: its public keys (X25519, Ed25519, Curve25519), and commitments of the profiles it receives for.

    A `manager` signs the lists that follow. From `valid_until_ms` on, nothing is encrypted for the device.
    """

    device: DeviceId
    noise_key: PublicKey
    signing_key: PublicKey
    identity_key: PublicKey
    profiles: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=PROFILES_PER_ACCOUNT)]
    manager: bool
    valid_until_ms: Milliseconds | None = None

    def is_valid(self, at_ms: int) -> bool:
        """Whether the device's time is not over."""
        return self.valid_until_ms is None or at_ms < self.valid_until_ms


class PendingRoot(Struct, frozen=True, array_like=True):
    """A new root key that all managers announced, because the recovery phrase is lost. It may sign from then on."""

    root_key: PublicKey
    effective_ms: Milliseconds


class DeviceList(Struct, frozen=True, array_like=True):
    """The devices of an account. `number` counts from 1; `previous` is the hash of the list before."""

    account: AccountId
    number: Annotated[int, Meta(ge=1, le=SEQ_MAX)]
    previous: Hash | None
    root_key: PublicKey
    devices: Annotated[tuple[ListedDevice, ...], Meta(max_length=DEVICES_PER_ACCOUNT)]
    pending_root: PendingRoot | None
    issued_ms: Milliseconds

    def find(self, device: DeviceId) -> ListedDevice | None:
        """Return the device, also when its time is over."""
        return next((each for each in self.devices if each.device == device), None)


class ListSignature(Struct, frozen=True, array_like=True):
    """A signature over a list, by the signing key of `signer`, or by the root key where that is None."""

    signer: DeviceId | None
    signature: Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class SignedDeviceList(Struct, frozen=True, array_like=True):
    """An encoded list and its signatures: those of root keys first (the present one, then a new one), then by device.

    Exactly the needed signatures, in this order: so that nobody else can make other bytes of the same list.
    """

    statement: bytes
    signatures: tuple[ListSignature, ...]


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_lists = msgspec.msgpack.Decoder(DeviceList, dec_hook=decode_binary_id)
_signed_lists = msgspec.msgpack.Decoder(SignedDeviceList, dec_hook=decode_binary_id)


def encode(struct: DeviceList | SignedDeviceList) -> bytes:
    """Return the one encoding of a list, signed or not."""
    return _encoder.encode(struct)


def decode_list(encoded: bytes) -> DeviceList:
    """Decode a list. Raises PeerFault, also for any other than its one encoding."""
    return _decode(_lists, encoded)


def decode_signed_list(encoded: bytes) -> SignedDeviceList:
    """Decode a signed list. Raises PeerFault, also for any other than its one encoding."""
    if len(encoded) > DEVICE_LIST_BYTES:
        raise PeerFault("a device list is too long")
    return _decode(_signed_lists, encoded)


def list_hash(devices: DeviceList) -> bytes:
    """Return what the next list names as `previous`."""
    return hashlib.sha256(encode(devices)).digest()


def statement_to_sign(encoded: bytes) -> bytes:
    """Return what is signed for an encoded list."""
    return _LIST + encoded


def commitment(profile: ProfileId, salt: bytes) -> bytes:
    """Return what stands in a list for a profile: without the salt, nobody can tell whose list names which profile."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    return hashlib.sha256(_PROFILE + salt + profile.bytes).digest()


def sign_list(devices: DeviceList, signatures: Mapping[DeviceId, bytes], *roots: bytes) -> SignedDeviceList:
    """Put a list and its signatures together, in their order."""
    by_device = (ListSignature(device, signatures[device]) for device in sorted(signatures))
    return SignedDeviceList(encode(devices), (*(ListSignature(None, root) for root in roots), *by_device))


def judge(previous: DeviceList | None, signed: SignedDeviceList, *, now_ms: int | None = None) -> DeviceList:
    """Return the list, if it is one that may follow `previous`. Raises PeerFault that names the rule it breaks.

    Time is that of the lists, so that everybody judges a history alike, whenever. Who stores a new list gives `now_ms`
    too: then nobody can date it ahead, or back to when an expired manager was valid, or to shorten the delay of a new
    root key.
    """
    devices = decode_list(signed.statement)
    if now_ms is not None and abs(devices.issued_ms - now_ms) > CLOCK_SKEW_MS:
        raise PeerFault("a device list was issued too long ago or in the future: the clock of its signer is wrong")
    _check_content(devices)
    _check_succession(previous, devices)
    announces = _check_pending(previous, devices)
    _check_signatures(previous, devices, signed, announces=announces)
    return devices


def _check_content(devices: DeviceList) -> None:
    pending = () if devices.pending_root is None else (devices.pending_root.root_key,)
    signing = (devices.root_key, *pending, *(each.signing_key for each in devices.devices))
    exchange = [key for each in devices.devices for key in (each.noise_key, each.identity_key)]
    _check_ascending("devices", [each.device.bytes for each in devices.devices])
    for each in devices.devices:
        _check_ascending("profiles", each.profiles)
    if any(each.version != UUID_VERSION for each in (devices.account, *(each.device for each in devices.devices))):
        raise PeerFault("a device list holds an id that is no UUIDv7")
    if not all(map(is_good_exchange_key, exchange)):
        raise PeerFault("a device list holds a Curve25519 key that is not canonical, or of small order")
    if not all(map(is_good_signing_key, signing)):
        raise PeerFault("a device list holds a signing key that is no good Ed25519 key")
    # A key that two devices share would not tell which of them signed, or wrote.
    if len({*signing, *exchange}) != len(signing) + len(exchange):
        raise PeerFault("a device list holds a key twice")


def _check_ascending(what: str, items: Sequence[bytes]) -> None:
    # In one order only: the same devices have one encoding, and one hash.
    if list(items) != sorted(set(items)):
        raise PeerFault(f"the {what} of a device list are not in ascending order")


def _check_succession(previous: DeviceList | None, devices: DeviceList) -> None:
    if previous is None:
        if devices.number != 1 or devices.previous is not None:
            raise PeerFault("the first device list has number 1 and none before it")
        return
    if devices.account != previous.account:
        raise PeerFault("a device list is of another account than the one before")
    if devices.number != previous.number + 1 or devices.previous != list_hash(previous):
        raise PeerFault("a device list does not follow the one before")
    # Times only move on, or a manager whose time is over would sign with a date of before.
    if devices.issued_ms < previous.issued_ms:
        raise PeerFault("a device list was issued before the one before")
    for each in devices.devices:
        before = previous.find(each.device)
        if before is not None and _keys(before) != _keys(each):
            raise PeerFault("a device has other keys than in the device list before")


def _check_pending(previous: DeviceList | None, devices: DeviceList) -> bool:
    """Return whether the list announces a new root key, that is, one the list before did not."""
    pending = devices.pending_root
    if pending is None:
        return False
    if previous is None or devices.root_key != previous.root_key:
        raise PeerFault("a device list that brings a root key announces another one")
    if pending == previous.pending_root:
        return False
    if pending.effective_ms < devices.issued_ms + ROOT_KEY_DELAY_MS:
        raise PeerFault("a new root key is announced for less than seven days")
    return True


def _check_signatures(
    previous: DeviceList | None, devices: DeviceList, signed: SignedDeviceList, *, announces: bool
) -> None:
    roots = [each.signature for each in signed.signatures if each.signer is None]
    by_device = {each.signer: each.signature for each in signed.signatures if each.signer is not None}
    if sign_list(devices, by_device, *roots) != signed:
        raise PeerFault("the signatures of a device list are not in their order")
    before = () if previous is None else previous.devices
    managers = {each.device: each for each in before if each.manager and each.is_valid(devices.issued_ms)}
    known = {each.device for each in before}
    new = {each.device: each for each in devices.devices if each.device not in known}

    root_keys = _root_keys(previous, devices)
    if roots and len(roots) != len(root_keys):
        raise PeerFault("a device list has not as many signatures of root keys as it needs")
    statement = statement_to_sign(signed.statement)
    signers = managers | new
    made = [*zip(roots, root_keys, strict=False)]
    made += [(signature, signers[each].signing_key) for each, signature in by_device.items() if each in signers]
    if len(made) != len(signed.signatures) or not all(is_signed(statement, *each) for each in made):
        raise PeerFault("a signature of a device list is of somebody who may not sign it, or does not verify")

    if not by_device.keys() >= new.keys():
        raise PeerFault("a new device did not sign the device list, to prove that it has its keys")
    signing = by_device.keys() & managers.keys()
    if announces:
        if roots or not managers or signing != managers.keys():
            raise PeerFault("all managers together announce a new root key, and nobody else")
    elif previous is None or devices.root_key != previous.root_key:
        if not roots or signing:
            raise PeerFault("root keys alone sign a device list that brings a root key")
    # Exactly one: with more than are needed, somebody who drops one makes other bytes of the same list.
    elif bool(roots) + len(signing) != 1:
        raise PeerFault("a device list is signed by the root key or by one manager")


def _root_keys(previous: DeviceList | None, devices: DeviceList) -> tuple[bytes, ...]:
    """Return the root keys whose signatures come first, in their order."""
    if previous is None or devices.root_key == previous.root_key:
        return (devices.root_key,)
    pending = previous.pending_root
    if pending is not None and pending.root_key == devices.root_key and devices.issued_ms >= pending.effective_ms:
        return (devices.root_key,)
    return (previous.root_key, devices.root_key)


def _keys(device: ListedDevice) -> tuple[bytes, bytes, bytes]:
    return device.noise_key, device.signing_key, device.identity_key


def _decode(decoder: "msgspec.msgpack.Decoder[T]", encoded: bytes) -> T:
    try:
        decoded = decoder.decode(encoded)
    except codec.NOT_WELL_FORMED:
        raise PeerFault("a device list is not well-formed") from None
    # What has two encodings has two hashes.
    if _encoder.encode(decoded) != encoded:
        raise PeerFault("a device list is not in its one encoding")
    return decoded
