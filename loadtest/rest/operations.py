"""What people ask the API for in a day, and how often: the mix, as one table."""

import hashlib
import os
import random
from collections.abc import Callable
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from loadtest.crowd.crowd import Crowd, address_of, signing_key
from loadtest.rest.client import Request
from varde_contract.ids import DeviceId
from varde_contract.noise import KeyPair
from varde_contract.people import Policies, Theme
from varde_contract.rest.people import (
    AccountView,
    ClaimedKeys,
    Devices,
    PrekeyClaim,
    PrekeyCount,
    PrekeyUpload,
    Profiles,
    ProfileUpdate,
    ProfileView,
    RelayAddress,
    RelayTicket,
    Sessions,
    SignedKey,
)
from varde_contract.rest.talk import Conversations, ConversationView
from varde_contract.signed_statements import fallback_key_statement, one_time_key_statement

CLAIMS: Final = 8  # of one device's keys by one person. The API allows ten an hour, and refuses more


class Person:
    """Who asks: a seat of the crowd, with what its own device would know."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.number = number
        self.seat = crowd.seats[number]
        self.rooms = [crowd.rooms[room] for room in self.seat.rooms]
        self.address = address_of(self.seat.device)  # the e-mail address it signs in with
        self.claims: dict[DeviceId, int] = {}  # how often keys of a device were claimed
        self.codes = 0  # how often a code was asked for: the API mails an address five an hour
        self._crowd = crowd

    def get(self, name: str, answer: type, path: str = "") -> Request:
        """Return a request without a body."""
        return Request(name=name, path=path, token=self.seat.access_token, answer=answer)

    def show_conversation(self, dice: random.Random) -> Request:
        """Look at one of its conversations."""
        if not self.rooms:
            return self.get("GET /v1/conversations", Conversations)
        path = f"/v1/conversations/{dice.choice(self.rooms).conversation}"
        return self.get("GET /v1/conversations/{conversation}", ConversationView, path)

    def change_profile(self, dice: random.Random) -> Request:
        """Choose another theme."""
        body = ProfileUpdate(theme=dice.choice(tuple(Theme)), policies=Policies())
        path = f"/v1/profiles/{self.seat.profile}"
        token = self.seat.access_token
        return Request(name="PUT /v1/profiles/{profile}", path=path, token=token, body=body, answer=ProfileView)

    def upload_prekeys(self, _: random.Random) -> Request:
        """Upload a fallback key, and always the same one-time key: there is at most one more than there was."""
        device, signing = self.seat.device, signing_key(self.seat.noise_private)
        body = PrekeyUpload(
            one_time_keys=(signed_one_time_key(device, signing, self.seat.noise_private),),
            fallback_key=signed_fallback_key(device, signing),
        )
        return Request(name="POST /v1/prekeys", token=self.seat.access_token, body=body, answer=PrekeyCount)

    def claim_prekeys(self, dice: random.Random) -> Request:
        """Claim a key of somebody in one of its conversations."""
        room = dice.choice(self.rooms) if self.rooms else None
        members = () if room is None else room.members
        others = (self._crowd.seats[member].device for member in members if member != self.number)
        claimable = [device for device in others if self.claims.get(device, 0) < CLAIMS]
        if room is None or not claimable:
            return self.get("GET /v1/prekeys", PrekeyCount)
        device = dice.choice(claimable)
        self.claims[device] = self.claims.get(device, 0) + 1
        body = PrekeyClaim(room.conversation, (device,))
        return Request(name="POST /v1/prekeys/claim", token=self.seat.access_token, body=body, answer=ClaimedKeys)


class Operation(NamedTuple):
    """`weight` is a share of requests."""

    weight: float
    make: Callable[[Person, random.Random], Request]


def _get(name: str, answer: type) -> Callable[[Person, random.Random], Request]:
    return lambda person, _: person.get(name, answer)


# A client asks for its conversations and a ticket each time it starts, which is most of it; profiles and devices are
# looked at now and then; keys are claimed once for each new device that one writes to.
MIX: Final = (
    Operation(22, _get("GET /v1/conversations", Conversations)),
    Operation(20, _get("POST /v1/relay/tickets", RelayTicket)),
    Operation(12, Person.show_conversation),
    Operation(10, _get("GET /v1/profiles", Profiles)),
    Operation(8, _get("GET /v1/devices", Devices)),
    Operation(6, _get("GET /v1/prekeys", PrekeyCount)),
    Operation(5, Person.claim_prekeys),
    Operation(4, Person.upload_prekeys),
    Operation(4, Person.change_profile),
    Operation(4, _get("GET /v1/account", AccountView)),
    Operation(3, lambda _, __: Request(name="GET /v1/relay", answer=RelayAddress)),
    Operation(2, _get("GET /v1/auth/sessions", Sessions)),
)
_WEIGHTS: Final = [operation.weight for operation in MIX]


def draw_request(person: Person, dice: random.Random) -> Request:
    """Return something that this person asks for."""
    (operation,) = dice.choices(MIX, _WEIGHTS)
    return operation.make(person, dice)


def draw_exchange_key(seed: bytes = b"") -> bytes:
    """Return a Curve25519 public key: always the same of a seed, a new one without."""
    private = hashlib.sha256(b"varde load: exchange " + seed).digest() if seed else os.urandom(32)
    return KeyPair.from_private(private).public


def signed_one_time_key(device: DeviceId, signing: Ed25519PrivateKey, seed: bytes = b"") -> SignedKey:
    """Return a one-time key of a device under a real signature, as the API checks it."""
    key = draw_exchange_key(seed)
    return SignedKey(key, signing.sign(one_time_key_statement(device, key)))


def signed_fallback_key(device: DeviceId, signing: Ed25519PrivateKey) -> SignedKey:
    """Return a new fallback key of a device."""
    key = draw_exchange_key()
    return SignedKey(key, signing.sign(fallback_key_statement(device, key)))
