"""Codes to paste from one device of an account to another: signatures over the device list that is to be the next.

A code holds only what the other side cannot know. The list itself is made again there, from the newest one that it has,
so the signatures hold only where both were shown the same history.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from varde.crypto.device_lists import Sign, next_list
from varde.errors import UnusableCode
from varde_contract.codec import NOT_WELL_FORMED
from varde_contract.device_list import (
    DeviceList,
    ListedDevice,
    ListSignature,
    Milliseconds,
    PendingRoot,
    encode,
    statement_to_sign,
)
from varde_contract.ids import DeviceId, decode_binary_id
from varde_contract.public_keys import is_signed


class DeviceCode(Struct, frozen=True, array_like=True, tag="device"):
    """A device that asks to be added, and its signature over the list with it."""

    number: int
    issued_ms: Milliseconds
    device: ListedDevice
    signature: bytes

    @classmethod
    def ask(cls, before: DeviceList, device: ListedDevice, sign: Sign, now_ms: int) -> "DeviceCode":
        """Return the code of a device that is in no list yet. The server takes what it asks for within the hour."""
        fresh = next_list(before, before.account, before.root_key, [*before.devices, device], now_ms)
        return cls(fresh.number, fresh.issued_ms, device, sign(statement_to_sign(encode(fresh))))

    def next_list(self, before: DeviceList) -> DeviceList:
        """Return the list that it asks for. Raises UnusableCode where it was made after another one than `before`."""
        # Nobody reads a code before it is pasted: one that was slipped in would otherwise make a manager.
        if self.device.manager or self.device.valid_until_ms is not None:
            raise UnusableCode("this code asks for more than a device that receives")
        # An id that is in the list already would make a list that the rules refuse, by whoever judges it.
        devices = [*before.devices, self.device]
        fresh = next_list(before, before.account, before.root_key, devices, self.issued_ms)
        _check(fresh, self.number, {self.device.device: self.signature}, {self.device.device: self.device.signing_key})
        return fresh


class RootKeyCode(Struct, frozen=True, array_like=True, tag="root-key"):
    """A new root key that is to be announced, and the signatures of managers so far."""

    number: int
    issued_ms: Milliseconds
    pending: PendingRoot
    signatures: tuple[ListSignature, ...]

    def next_list(self, before: DeviceList) -> DeviceList:
        """Return the list that announces it. Raises UnusableCode where it was made after another one than `before`."""
        fresh = next_list(before, before.account, before.root_key, before.devices, self.issued_ms)
        fresh = replace(fresh, pending_root=self.pending)
        _check(fresh, self.number, self.by_device, {each.device: each.signing_key for each in managers(before, fresh)})
        return fresh

    @property
    def by_device(self) -> dict[DeviceId, bytes]:
        """The signatures by who made them."""
        return {each.signer: each.signature for each in self.signatures if each.signer is not None}


C = TypeVar("C", DeviceCode, RootKeyCode)
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


def managers(before: DeviceList, fresh: DeviceList) -> tuple[ListedDevice, ...]:
    """Return the devices that must sign together for a new root key."""
    return tuple(each for each in before.devices if each.manager and each.is_valid(fresh.issued_ms))


def encode_code(code: DeviceCode | RootKeyCode) -> str:
    """Return a code as text without spaces: some 400 characters."""
    return base64.urlsafe_b64encode(_encoder.encode(code)).decode().rstrip("=")


def decode_code(text: str, kind: type[C]) -> C:
    """Return what a code says. Raises UnusableCode."""
    whole = "".join(text.split())  # a terminal or a mail may have broken it into lines
    try:
        encoded = base64.b64decode(whole + "=" * (-len(whole) % 4), b"-_", validate=True)
        return msgspec.msgpack.decode(encoded, type=kind, dec_hook=decode_binary_id)
    except (*NOT_WELL_FORMED, binascii.Error, ValueError):
        raise UnusableCode("this is not such a code, or not all of it") from None


def _check(
    fresh: DeviceList, number: int, signatures: Mapping[DeviceId, bytes], keys: Mapping[DeviceId, bytes]
) -> None:
    statement = statement_to_sign(encode(fresh))
    known = signatures.keys() <= keys.keys()
    if number != fresh.number or not known or not all(is_signed(statement, signatures[d], keys[d]) for d in signatures):
        # Where the server showed another history to the other device, that must not pass for a list that was late.
        raise UnusableCode("this code does not continue the device list that this device knows")
