"""Invite links: the bytes behind `#`, and what is proven with the secret in them.

    https://host/i#base64url(01 | kind | fields | check)

What is behind `#` is sent to no server, by browsers neither. A person's link pins account and root key of whom it leads
to, a group's the place in the chain that it was made at, so that nothing has to be believed at first sight.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import ClassVar, Final, TypeAlias
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from varde_contract.card import CARD_KEY_BYTES, CardKey
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ConversationId, ProfileId, decode_binary_id
from varde_contract.limits import SEQ_MAX
from varde_contract.membership_statements import Via, link_statement
from varde_contract.rest.talk import ChainHead
from varde_contract.secret_struct import SecretStruct

PATH: Final = "/i"
VERSION: Final = 1
LINK_CHARACTERS: Final = 1_024
"""A longer text is not looked at. The longest link has 192 characters behind `#`."""
SECRET_BYTES: Final = 32
HASH_BYTES: Final = 32
CHECK_BYTES: Final = 4
_NO_CARD: Final = bytes(8 + CARD_KEY_BYTES)
"""In place of the key of a card that is not there."""

_TOKEN: Final = b"varde.v2 link token\x00"
_DIGEST: Final = b"varde.v2 link digest\x00"
_PROOF: Final = b"varde.v2 link\x00"
_ROOT: Final = b"varde.v2 root key\x00"
_CHECK: Final = b"varde.v2 link check\x00"


_NOT_WHOLE: Final = "the link was cut off, or something is in it that does not belong there"


class LinkFault(PeerFault):
    """A text that is no invite link, in words for whoever pasted it."""


class PersonLink(SecretStruct, frozen=True):
    """Leads to a profile, and lets its holder ask it. `origin` is the API's, such as `https://host`."""

    kind: ClassVar[int] = 1

    origin: str
    profile: ProfileId
    account: AccountId
    root_hash: bytes
    secret: bytes
    card: CardKey | None = None

    @property
    def url(self) -> str:
        """The address to hand on."""
        return encode_link(self)

    @property
    def token(self) -> bytes:
        """What its holder shows the server, which never sees the secret."""
        return hashlib.sha256(_TOKEN + self.secret).digest()

    def proof(self, account: AccountId, profile: ProfileId, root_hash: bytes) -> bytes:
        """Return what shows the inviter, end to end, that who asks has the link: for this account and root key alone.

        The root key is in it although the account is: an account's id says nothing of its keys, and the server could
        show the inviter other ones.
        """
        said = account.bytes + profile.bytes + root_hash + self.profile.bytes
        return hmac.digest(self.secret, _PROOF + said, hashlib.sha256)

    @property
    def fields(self) -> bytes:
        """The fields as they stand in the link."""
        return self.profile.bytes + self.account.bytes + self.root_hash + self.secret + _card_fields(self.card)


class GroupLink(SecretStruct, frozen=True):
    """Lets its holder into a group: whoever has the seed of the key that the chain names comes in.

    `head` is where the chain was when the link was made. It names all that was stated before, so the server cannot make
    up another group for who comes by the link.
    """

    kind: ClassVar[int] = 2

    origin: str
    conversation: ConversationId
    seed: bytes
    head: ChainHead
    card: CardKey | None = None

    @property
    def url(self) -> str:
        """The address to hand on."""
        return encode_link(self)

    @property
    def key(self) -> bytes:
        """The public half, which the chain names the link by."""
        return public_key(self.seed)

    @property
    def fields(self) -> bytes:
        """The fields as they stand in the link."""
        head = self.head.number.to_bytes(8, "big") + self.head.hash
        return self.conversation.bytes + self.seed + head + _card_fields(self.card)


Link: TypeAlias = PersonLink | GroupLink

_PERSON: Final = (16, 16, HASH_BYTES, SECRET_BYTES, 8 + CARD_KEY_BYTES)
_GROUP: Final = (16, SECRET_BYTES, 8, HASH_BYTES, 8 + CARD_KEY_BYTES)


def via_link(link: GroupLink, profile: ProfileId) -> Via:
    """Return what an acceptance shows. It is good for this profile alone: seen on its way, it lets nobody in."""
    private = Ed25519PrivateKey.from_private_bytes(link.seed)
    return Via(link.key, private.sign(link_statement(link.conversation, profile)))


def public_key(seed: bytes) -> bytes:
    """Return the public half of a seed's key."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def token_digest(token: bytes) -> bytes:
    """Return what the server keeps of a token: who reads the database cannot use a link."""
    return hashlib.sha256(_DIGEST + token).digest()


def root_key_hash(root_key: bytes) -> bytes:
    """Return what stands for a root key in links and contact cards."""
    return hashlib.sha256(_ROOT + root_key).digest()


def encode_link(link: Link) -> str:
    """Return the address to hand on."""
    payload = bytes((VERSION, link.kind)) + link.fields
    return f"{link.origin}{PATH}#{_to_text(payload + _check(payload))}"


def parse_link(text: str) -> Link:
    """Read an address. Raises LinkFault, in words that hold nothing of the text."""
    if len(text) > LINK_CHARACTERS:
        raise LinkFault("this is far too long for an invite link")
    address, _, fragment = text.strip().strip("<>").partition("#")
    origin = _origin(address)
    payload = _from_text(fragment)
    if not payload:
        raise LinkFault("the part of the link behind '#' is missing: it was cut off")
    if payload[0] != VERSION:
        raise LinkFault("this link was made by a newer version: update this one")
    if len(payload) < CHECK_BYTES + 2:
        raise LinkFault("the link was cut off")
    payload, check = payload[:-CHECK_BYTES], payload[-CHECK_BYTES:]
    lengths = {PersonLink.kind: _PERSON, GroupLink.kind: _GROUP}.get(payload[1])
    if lengths is None:
        raise LinkFault("this link leads to what this version does not know: update it")
    if len(payload) - 2 != sum(lengths):
        raise LinkFault("the link was cut off, or something was pasted behind it")
    # Before the fields: a letter that is wrong must not look like a server that lies.
    if check != _check(payload):
        raise LinkFault("a character of the link is wrong: copy it once more")
    try:
        return _link(origin, payload[1], _split(payload[2:], lengths))
    except ValueError:
        raise LinkFault("this is no invite link") from None


def normal_origin(url: str) -> str:
    """Return scheme, host and port of a URL, in one spelling. Raises ValueError."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in {"https", "http"} or not host or "@" in parts.netloc:
        raise ValueError("this is no address of a server")
    host = f"[{host}]" if ":" in host else host
    default = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in {None, default} else "")


def _origin(address: str) -> str:
    try:
        parts = urlsplit(address)
        origin = normal_origin(address)
    except ValueError:
        raise LinkFault("this is no invite link: one looks like https://host/i#...") from None
    if parts.path.rstrip("/") != PATH or parts.query:
        raise LinkFault("this is no invite link: one looks like https://host/i#...")
    return origin


def _link(origin: str, kind: int, fields: Sequence[bytes]) -> Link:
    if kind == PersonLink.kind:
        profile, account = (decode_binary_id(bytes, each) for each in fields[:2])
        return PersonLink(origin, ProfileId(profile), AccountId(account), fields[2], fields[3], _card(fields[4]))
    conversation, seed, number, head, card = fields
    where = ConversationId(decode_binary_id(bytes, conversation))
    return GroupLink(origin, where, seed, ChainHead(_number(number), head), _card(card))


def _card(fields: bytes) -> CardKey | None:
    if fields == _NO_CARD:
        return None
    number = _number(fields[:8])
    if not number:
        raise ValueError("cards are numbered from 1")
    return CardKey(number, fields[8:])


def _card_fields(card: CardKey | None) -> bytes:
    return _NO_CARD if card is None else card.number.to_bytes(8, "big") + card.key


def _number(fields: bytes) -> int:
    number = int.from_bytes(fields, "big")
    if number > SEQ_MAX:
        raise ValueError("no number that anything has")
    return number


def _split(payload: bytes, lengths: Sequence[int]) -> list[bytes]:
    ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
    return [payload[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _check(payload: bytes) -> bytes:
    return hashlib.sha256(_CHECK + payload).digest()[:CHECK_BYTES]


def _to_text(payload: bytes) -> str:
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    try:
        payload = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise LinkFault(_NOT_WHOLE) from None
    if _to_text(payload) != text:
        raise LinkFault(_NOT_WHOLE)
    return payload
