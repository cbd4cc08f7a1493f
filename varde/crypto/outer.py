"""The outer layer of every Olm message: XChaCha20-Poly1305 under a key that a post-quantum KEM agreed on.

Whoever records messages today and computes discrete logarithms one day still meets this layer. It also has the full tag
and the associated data that Olm lacks. It is bound to one Olm session, and heals: the device that began the session
offers a fresh KEM key when the key is worn, and the answer mixes a new secret into the old key.
"""

import hashlib
import os
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec.structs import replace
from nacl import bindings
from nacl.exceptions import CryptoError

from varde.crypto import CannotDecrypt
from varde.events import Reason
from varde.store.ratchets import OuterState
from varde_contract.envelope import ENVELOPE_VERSION, Cipher
from varde_contract.errors import PeerFault
from varde_contract.ids import AccountId, ConversationId, DeviceId
from varde_contract.kem import ENCAPSULATED_BYTES, SECRET_BYTES, KemKeyPair, encapsulate, is_good_kem_key
from varde_contract.signed_statements import KEM_KEY_BYTES

DAY_MS: Final = 24 * 60 * 60 * 1_000
RENEW_AFTER_MESSAGES: Final = 50
RENEW_AFTER_MS: Final = 7 * DAY_MS
KEYS: Final = 4
"""Messages under a key from before may be late. More than one offer is never under way, so few keys are enough."""
ID_BYTES: Final = 8
KEM_ID_BYTES: Final = 16
NONCE_BYTES: Final = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
"""Of XChaCha20, whose nonce is long enough to be random: no counter has to survive a restored store."""
TAG_BYTES: Final = 16
NOTHING: Final = b"\x00"
"""For a device that has no prekey left. It cannot be opened, which shows the device that it missed something."""

_ENCAPSULATED: Final = 1  # a KEM key's id and what was encapsulated to it: the other side may not have the key yet
_OFFER: Final = 2  # a KEM public key to answer to
_ID: Final = b"varde.v2 outer key id\x00"
_KEY: Final = b"varde.v2 outer key\x00"
_MESSAGE: Final = b"varde.v2 outer message\x00"


class End(NamedTuple):
    """One end of a session: whose it is, and its identity key."""

    account: AccountId
    device: DeviceId
    identity_key: bytes


class Ends(NamedTuple):
    """Both ends, as one of them sees them."""

    conversation: ConversationId
    own: End
    peer: End


class OuterMessage(NamedTuple):
    """An outer layer, taken apart. `header` is what stands before the nonce, associated data all of it."""

    header: bytes
    key_id: bytes
    kem_id: bytes
    encapsulated: bytes
    offer: bytes
    sealed: bytes


def parse(cipher: Cipher, content: bytes) -> OuterMessage:
    """Take the bytes behind version and cipher apart. Raises CannotDecrypt."""
    if content == NOTHING:
        raise CannotDecrypt(Reason.NO_SESSION)
    flags, at = content[:1], 1 + ID_BYTES
    # Unknown flags are refused: a later version has another first byte, and until then every bit is authenticated.
    if flags not in (b"\x00", b"\x01", b"\x02", b"\x03"):
        raise CannotDecrypt(Reason.MALFORMED)
    key_id, kem_id, encapsulated, offer = content[1:at], b"", b"", b""
    if flags[0] & _ENCAPSULATED:
        kem_id, encapsulated = content[at : at + KEM_ID_BYTES], content[at + KEM_ID_BYTES :][:ENCAPSULATED_BYTES]
        at += KEM_ID_BYTES + ENCAPSULATED_BYTES
    if flags[0] & _OFFER:
        offer = content[at : at + KEM_KEY_BYTES]
        at += KEM_KEY_BYTES
    if len(content) < at + NONCE_BYTES + TAG_BYTES:
        raise CannotDecrypt(Reason.MALFORMED)
    header = bytes((ENVELOPE_VERSION, cipher)) + content[:at]
    return OuterMessage(header, key_id, kem_id, encapsulated, offer, content[at:])


def begin(kem_key: bytes, ends: Ends, now_ms: int) -> OuterState:
    """Begin the outer layer of a session with the KEM key of a claimed prekey."""
    secret, encapsulated = encapsulate(kem_key, _info(ends.conversation, ends.own, ends.peer, kem_key))
    key = _derive(secret, b"", ends.conversation, ends.own, ends.peer, kem_key)
    return OuterState((key,), began=True, since_ms=now_ms, answer=kem_id_of(kem_key) + encapsulated)


def accept(kem: KemKeyPair, message: OuterMessage, ends: Ends, now_ms: int) -> OuterState:
    """Take in the outer layer that the peer began with one of this device's prekeys. Raises CannotDecrypt."""
    key = _decapsulate(kem, message, ends, b"")
    return OuterState((key,), began=False, since_ms=now_ms, answered=message.kem_id)


def seal(state: OuterState, cipher: Cipher, content: bytes, ends: Ends, now_ms: int) -> tuple[bytes, OuterState]:
    """Return what follows version and cipher of a message, and the state after it."""
    state = _renewed(replace(state, messages=state.messages + 1), now_ms)
    offer = KemKeyPair.from_private(state.offered).public if state.offered else b""
    flags = (_ENCAPSULATED if state.answer else 0) | (_OFFER if offer else 0)
    header = bytes((flags,)) + key_id_of(state.keys[0]) + state.answer + offer
    nonce = os.urandom(NONCE_BYTES)
    associated = _associated(bytes((ENVELOPE_VERSION, cipher)) + header, ends.conversation, ends.own, ends.peer)
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(content, associated, nonce, state.keys[0])
    return header + nonce + sealed, state


def open_outer(state: OuterState, message: OuterMessage, ends: Ends, now_ms: int) -> tuple[bytes, OuterState]:
    """Return the Olm message inside, and the state after it. Raises CannotDecrypt, and nothing has changed then."""
    key = next((key for key in state.keys if key_id_of(key) == message.key_id), None)
    if key is None:
        state, key = _take_answer(state, message, ends, now_ms)
    associated = _associated(message.header, ends.conversation, ends.peer, ends.own)
    nonce, sealed = message.sealed[:NONCE_BYTES], message.sealed[NONCE_BYTES:]
    try:
        content: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)
    except CryptoError:
        raise CannotDecrypt(Reason.TAMPERED) from None
    # Until then the answer goes along with every message: any one of them may be the first that arrives.
    if key == state.keys[0]:
        state = replace(state, answer=b"")  # the peer has the newest key
    return content, _answer_offer(replace(state, messages=state.messages + 1), message.offer, ends, now_ms)


def kem_id_of(kem_key: bytes) -> bytes:
    """Return what a KEM public key is called in messages."""
    return hashlib.sha256(kem_key).digest()[:KEM_ID_BYTES]


def key_id_of(key: bytes) -> bytes:
    """Return what a key is called in messages."""
    return hashlib.sha256(_ID + key).digest()[:ID_BYTES]


def _renewed(state: OuterState, now_ms: int) -> OuterState:
    """Make an offer when the key is worn. One side only: two offers that cross would make two keys out of one."""
    # A clock that was set back counts as worn: a key would otherwise serve for as long as the clock was wrong, and
    # more.
    worn = state.messages > RENEW_AFTER_MESSAGES or not 0 <= now_ms - state.since_ms < RENEW_AFTER_MS
    if not (state.began and worn) or state.offered or state.answer:
        return state
    return replace(state, offered=KemKeyPair.generate().private_bytes())


def _answer_offer(state: OuterState, offer: bytes, ends: Ends, now_ms: int) -> OuterState:
    # The one who began offers, the other answers. An offer that comes twice is answered with the same key.
    if not offer or state.began or kem_id_of(offer) == state.answered:
        return state
    if not is_good_kem_key(offer):
        raise CannotDecrypt(Reason.MALFORMED)
    secret, encapsulated = encapsulate(offer, _info(ends.conversation, ends.own, ends.peer, offer))
    key = _derive(secret, state.keys[0], ends.conversation, ends.own, ends.peer, offer)
    state = _with_key(state, key, now_ms)
    return replace(state, answer=kem_id_of(offer) + encapsulated, answered=kem_id_of(offer))


def _take_answer(state: OuterState, message: OuterMessage, ends: Ends, now_ms: int) -> tuple[OuterState, bytes]:
    if not state.offered:
        raise CannotDecrypt(Reason.NO_SESSION)
    key = _decapsulate(KemKeyPair.from_private(state.offered), message, ends, state.keys[0])
    return replace(_with_key(state, key, now_ms), offered=b""), key


def _with_key(state: OuterState, key: bytes, now_ms: int) -> OuterState:
    return replace(state, keys=(key, *state.keys)[:KEYS], since_ms=now_ms, messages=0)


def _decapsulate(kem: KemKeyPair, message: OuterMessage, ends: Ends, before: bytes) -> bytes:
    public = kem.public
    if kem_id_of(public) != message.kem_id:
        raise CannotDecrypt(Reason.NO_SESSION)
    try:
        secret = kem.decapsulate(message.encapsulated, _info(ends.conversation, ends.peer, ends.own, public))
    except PeerFault:
        raise CannotDecrypt(Reason.TAMPERED) from None
    key = _derive(secret, before, ends.conversation, ends.peer, ends.own, public)
    # HPKE's tag shows a secret that was changed. This shows two that were mixed into different keys of before.
    if key_id_of(key) != message.key_id:
        raise CannotDecrypt(Reason.TAMPERED)
    return key


def _info(conversation: ConversationId, sender: End, owner: End, kem_key: bytes) -> bytes:
    """Return what a secret is bound to: who encapsulated it, for whom, and to which key. All lengths are fixed."""
    ends = (part for end in (sender, owner) for part in (end.account.bytes, end.device.bytes, end.identity_key))
    return b"".join((_KEY, conversation.bytes, *ends, kem_key))


def _derive(
    secret: bytes, before: bytes, conversation: ConversationId, sender: End, owner: End, kem_key: bytes
) -> bytes:
    # The old key is the salt: whoever breaks one exchange, or makes it up, still lacks what came before.
    salt = before or bytes(SECRET_BYTES)
    info = _info(conversation, sender, owner, kem_key)
    return HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=salt, info=info).derive(secret)


def _associated(header: bytes, conversation: ConversationId, sender: End, recipient: End) -> bytes:
    return _MESSAGE + conversation.bytes + sender.device.bytes + recipient.device.bytes + header
