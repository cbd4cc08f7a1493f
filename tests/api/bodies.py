"""Request bodies as a client of the cast sends them, as JSON."""

import json
from typing import Any

import msgspec
from msgspec import Struct

from domain.people.model import Prekey
from tests.cast import CastDevice, alice, alice_phone, bob
from varde_contract.ids import ConversationId, SessionId
from varde_contract.rest.people import DeviceProof, NewDevice, PrekeyClaim, PrekeyUpload, SignedKey
from varde_contract.signed_statements import session_statement


def jsonable(struct: Struct) -> dict[str, Any]:
    """Return a Struct as the JSON it is on the wire."""
    return dict(json.loads(msgspec.json.encode(struct)))


def new_device(device: CastDevice) -> dict[str, Any]:
    """Register this device."""
    model = device.model
    return jsonable(
        NewDevice(
            device=model.id,
            noise_key=model.noise_key,
            signing_key=model.signing_key,
            identity_key=model.identity_key,
            signature=model.signature,
            profiles=model.profiles,
        )
    )


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


def _signed(key: Prekey) -> SignedKey:
    return SignedKey(key.key, key.kem_key, key.signature)
