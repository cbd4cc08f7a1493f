"""Relay tickets: EdDSA JWTs (RFC 7519, RFC 8037) that say which device may connect with which Noise key, for a day."""

import base64
import hmac
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from domain.people.model import Device
from domain.people.revocations import Revocations
from domain.ports import Clock, Entropy
from varde_contract.ids import ENTROPY_BYTES, AccountId, DeviceId, ProfileId, uuid7
from varde_contract.limits import SECOND_MS
from varde_contract.public_keys import is_good_signing_key
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.signed_statements import SIGNATURE_BYTES

ALGORITHM: Final = "EdDSA"
TYPE: Final = "varde-ticket+jwt"
"""The `typ` header (RFC 8725 section 3.11): no other token signed with this key can be taken for a ticket."""
HEADER: Final = base64.urlsafe_b64encode(f'{{"alg":"{ALGORITHM}","typ":"{TYPE}"}}'.encode()).rstrip(b"=").decode()
"""How every ticket begins."""
LIFETIME: Final = 24 * 60 * 60 * SECOND_MS
"""A node that starts reads the revocations of this time: a ticket that lived longer would outlive the one that voids
it."""
SKEW: Final = 60 * SECOND_MS
"""How far the clocks of the API and a relay may be apart."""

_INVALID: Final = Refused(
    RefusalCode.TICKET_INVALID, "The ticket does not hold for this device and this key. Ask the API for a new one."
)
_EXPIRED: Final = Refused(RefusalCode.TICKET_EXPIRED, "The ticket's time has passed. Ask the API for a new one.")
_REVOKED: Final = Refused(RefusalCode.TICKET_REVOKED, "This device was revoked. It cannot come back.")


class Ticket(Struct, frozen=True):
    """What a good ticket says."""

    id: UUID
    device: DeviceId
    account: AccountId
    noise_key: bytes
    profiles: frozenset[ProfileId]
    issued_ms: int
    expires_ms: int


class IssuedTicket(Struct, frozen=True):
    """A ticket as it is handed out. `text` is a secret of its device, `route` is for load balancers to see."""

    text: str
    expires_ms: int
    route: str = ""

    def __repr__(self) -> str:
        return f"IssuedTicket(expires_ms={self.expires_ms})"


ROUTE_BYTES: Final = 2
"""Of the routing hint: enough to spread 65,536 buckets over hundreds of nodes, and too few to tell devices apart. Of a
million devices, fifteen share each; whoever reads a balancer's log learns nothing that holds for one of them."""


class _Claims(Struct, frozen=True):
    """A ticket's payload (RFC 7519 section 4); the times are seconds with their milliseconds behind the point."""

    sub: UUID
    acc: UUID
    nk: str
    prf: tuple[UUID, ...]
    iat: float
    exp: float
    jti: UUID


_claims: Final = msgspec.json.Decoder(_Claims)


class TicketIssuer:
    """Signs tickets: in the API."""

    def __init__(self, private_key: bytes, *, entropy: Entropy) -> None:
        """`private_key` is 32 bytes of Ed25519."""
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)
        self._entropy = entropy
        self._route_key = hmac.digest(private_key, b"varde.v2 routing hint", "sha256")

    def issue(self, device: Device, *, read_ms: int) -> IssuedTicket:
        """Sign a ticket for a device. `read_ms` is a time before it was read from the store.

        With a later time, a change of the whitelist between the reading and the signing would not void the ticket.
        """
        expires_ms = min(read_ms + LIFETIME, device.valid_until_ms or read_ms + LIFETIME)
        claims = _Claims(
            sub=device.id,
            acc=device.account,
            nk=base64.urlsafe_b64encode(device.noise_key).rstrip(b"=").decode(),
            prf=device.profiles,
            iat=read_ms / SECOND_MS,
            exp=expires_ms / SECOND_MS,
            jti=uuid7(read_ms, self._entropy(ENTROPY_BYTES)),
        )
        payload = msgspec.to_builtins(claims)
        text = jwt.encode(payload, self._key, algorithm=ALGORITHM, headers={"typ": TYPE})
        route = hmac.digest(self._route_key, device.id.bytes, "sha256")[:ROUTE_BYTES].hex()
        return IssuedTicket(text, expires_ms, route)


class TicketChecker:
    """Judges tickets: in every relay node."""

    def __init__(self, public_keys: Sequence[bytes], revocations: Revocations, *, clock: Clock) -> None:
        """`public_keys` are 32 bytes of Ed25519 each: more than one while the key changes, the one in use first.

        Raises ValueError for a key that anybody could forge signatures for.
        """
        if not all(map(is_good_signing_key, public_keys)):
            raise ValueError("the tickets' public key is no Ed25519 key")
        self._keys = public_keys
        self._revocations = revocations
        self._clock = clock

    def check(self, text: str, *, device: DeviceId, noise_key: bytes) -> Ticket | Refused:
        """Judge what `device` showed over a connection whose remote static key is `noise_key`.

        Refuses `ticket-invalid`, `ticket-expired` and `ticket-revoked`.
        """
        ticket = self._read(text)
        if ticket is None or ticket.device != device or not hmac.compare_digest(ticket.noise_key, noise_key):
            return _INVALID
        return self.judge_again(ticket) or ticket

    def judge_again(self, ticket: Ticket) -> Refused | None:
        """Whether a ticket that was good has come to its end: by time, or by a revocation since."""
        now_ms = self._clock()
        if now_ms >= ticket.expires_ms:
            return _EXPIRED
        if ticket.issued_ms > now_ms + SKEW:
            return _INVALID
        revocation = self._revocations.find(ticket.device, ticket.issued_ms)
        if revocation is None:
            return None
        return _REVOKED if revocation.final else _INVALID

    def _read(self, text: str) -> Ticket | None:
        # Every ticket of ours has the same header, so there is nothing in it to read, and no algorithm to choose from
        # (RFC 8725 section 3.1). This runs for every handshake: a general JWT decoder takes as long as the signature.
        signed, _, signature = text.rpartition(".")
        header, _, payload = signed.partition(".")
        if header != HEADER:
            return None
        try:
            _require_signed(signed.encode("ascii"), _from_base64url(signature), self._keys)
            ticket = _ticket_of(_claims.decode(_from_base64url(payload)))
        # Which of these it was is nobody's business but the forger's.
        except (BadSignatureError, msgspec.MsgspecError, ValueError, OverflowError):
            return None
        # A longer life would outlive the memory of revocations.
        return ticket if ticket.expires_ms - ticket.issued_ms <= LIFETIME else None


def _require_signed(signed: bytes, signature: bytes, keys: Sequence[bytes]) -> None:
    """Raise ValueError or BadSignatureError unless it is, by one key. They are known to be good: nobody asks again."""
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError("an Ed25519 signature has another length")  # the split of what follows would be the forger's
    *others, last = keys
    for key in others:
        with suppress(BadSignatureError):
            crypto_sign_open(signature + signed, key)
            return
    crypto_sign_open(signature + signed, last)


def _from_base64url(text: str) -> bytes:
    """RFC 7515 section 2: without padding. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _ticket_of(claims: _Claims) -> Ticket:
    return Ticket(
        id=claims.jti,
        device=DeviceId(claims.sub),
        account=AccountId(claims.acc),
        noise_key=_from_base64url(claims.nk),
        profiles=frozenset(map(ProfileId, claims.prf)),
        issued_ms=round(claims.iat * SECOND_MS),
        expires_ms=round(claims.exp * SECOND_MS),
    )
