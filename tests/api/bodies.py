"""Request bodies as a client of the cast sends them, as JSON."""

import json
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct
from msgspec.structs import replace

from domain.people.model import Prekey
from domain.ports import Stores
from tests.cast import CastDevice, alice, alice_phone, bob, listed_device, next_change
from varde_contract.device_list import (
    DeviceList,
    decode_list,
    decode_signed_list,
    encode,
    list_hash,
    sign_list,
    statement_to_sign,
)
from varde_contract.ids import AccountId, ConversationId, SessionId
from varde_contract.rest.people import DeviceProof, NewDeviceList, PrekeyClaim, PrekeyUpload, SignedKey
from varde_contract.rest.talk import NewStatements
from varde_contract.signed_statements import session_statement


def jsonable(struct: Struct) -> dict[str, Any]:
    """Return a Struct as the JSON it is on the wire."""
    return dict(json.loads(msgspec.json.encode(struct)))


async def device_list(
    stores: Stores, issued_ms: int, *, add: Sequence[CastDevice] = (), **changes: Any
) -> dict[str, Any]:
    """Alice's next device list, signed by her root key; the changes are those of `next_change`."""
    change = await next_change(stores, alice.account, add=add, issued_ms=issued_ms, **changes)
    return jsonable(NewDeviceList(change.stored.signed))


def first_list(
    account: AccountId,
    root: Ed25519PrivateKey,
    before: bytes | None,
    commitments: Sequence[bytes],
    *devices: CastDevice,
) -> dict[str, Any]:
    """The list of an account that the server made, with these devices; the last one is new, where there was one."""
    previous = None if before is None else decode_list(decode_signed_list(before).statement)
    listed = sorted(
        (replace(listed_device(device), profiles=tuple(commitments)) for device in devices),
        key=lambda each: each.device,
    )
    fresh = DeviceList(
        account,
        1 if previous is None else previous.number + 1,
        None if previous is None else list_hash(previous),
        root.public_key().public_bytes_raw(),
        tuple(listed),
        None,
        time.time_ns() // 1_000_000,
    )
    statement = statement_to_sign(encode(fresh))
    known = () if previous is None else previous.devices
    new = {
        device.id: device.signing.sign(statement)
        for device in devices
        if not any(each.device == device.id for each in known)
    }
    return jsonable(NewDeviceList(encode(sign_list(fresh, new, root.sign(statement)))))


def proof(device: CastDevice, session: SessionId) -> dict[str, Any]:
    """Come back as this device in a session."""
    return jsonable(DeviceProof(device.signing.sign(session_statement(session, device.id))))


def prekeys(device: CastDevice, count: int = 3, *, start: int = 10) -> dict[str, Any]:
    """Upload some one-time keys and the fallback key."""
    one_time = tuple(_signed(key) for key in device.one_time_keys(count, start=start))
    return jsonable(PrekeyUpload(one_time, _signed(device.fallback_key())))


def claim(conversation: ConversationId | str, *gears: CastDevice) -> dict[str, Any]:
    """Claim a key of each of these devices."""
    body = jsonable(PrekeyClaim(ConversationId(gears[0].model.account), tuple(device.id for device in gears)))
    return body | {"conversation": str(conversation)}


def new_message(
    conversation: ConversationId | str, number: int = 1, *, by: CastDevice = alice_phone, **more: Any
) -> dict[str, Any]:
    """A `NewMessage` of Alice to Bob, one ciphertext for each device but the sending one."""
    others = [device for device in (*alice.devices, *bob.devices) if device is not by]
    return {
        "client_id": f"019b76da-a800-7000-8000-{number:012x}",
        "conversation": str(conversation),
        "profile": str(alice.profile),
        "roster_version": 1,
        "devices": {str(device.id): "c2VhbGVk" for device in others},
    } | more


def statements(*signed: bytes) -> dict[str, Any]:
    """Begin a conversation, or extend its chain."""
    return jsonable(NewStatements(signed))


def _signed(key: Prekey) -> SignedKey:
    return SignedKey(key.key, key.kem_key, key.signature)
