"""The one place that touches vodozemac: accounts, Olm sessions, Megolm sender keys, with bytes in and bytes out."""

import base64
from typing import NamedTuple, Protocol, Self, cast

import vodozemac as v

from varde.crypto import CannotDecrypt
from varde.crypto.olm_format import check_olm_message
from varde.errors import UntrustedDevice
from varde.events import Reason
from varde_contract.envelope import Cipher
from varde_contract.public_keys import is_good_exchange_key

_PICKLE_KEY = b"varde.v1 pickle".ljust(32, b"\x00")
"""No secret: pickles under one key are deterministic, so the store encrypts them again with a random nonce."""


class _FallbackKeys(Protocol):
    """What vodozemac's stubs leave out."""

    @property
    def fallback_key(self) -> dict[str, v.Curve25519PublicKey]: ...
    def generate_fallback_key(self) -> None: ...


class OlmAccount:
    """This device's long-lived keys, and the private halves of its prekeys."""

    def __init__(self, account: v.Account) -> None:
        self._account = account

    @classmethod
    def generate(cls) -> Self:
        """Fresh keys."""
        return cls(v.Account())

    @classmethod
    def restore(cls, pickle: str) -> Self:
        """The account as it was pickled."""
        return cls(v.Account.from_pickle(pickle, _PICKLE_KEY))

    def pickle(self) -> str:
        """Everything, secrets included: encrypt it."""
        return self._account.pickle(_PICKLE_KEY)

    @property
    def signing_key(self) -> bytes:
        """The Ed25519 public key."""
        return _from_base64(self._account.ed25519_key.to_base64())

    @property
    def identity_key(self) -> bytes:
        """The Curve25519 public key."""
        return self._account.curve25519_key.to_bytes()

    def sign(self, statement: bytes) -> bytes:
        """An Ed25519 signature of 64 bytes."""
        return _from_base64(self._account.sign(statement).to_base64())

    def new_one_time_keys(self, count: int) -> tuple[bytes, ...]:
        """Make Curve25519 keys to upload, each for one session.

        They count as published at once: a key whose upload is not known to have failed must not be uploaded again
        after somebody used it.
        """
        self._account.generate_one_time_keys(count)
        keys = tuple(key.to_bytes() for key in self._account.one_time_keys.values())
        self._account.mark_keys_as_published()
        return keys

    def new_fallback_key(self) -> bytes:
        """Make the key for when no one-time key is left. The one before it goes on working until the next."""
        account = cast("_FallbackKeys", self._account)
        account.generate_fallback_key()
        (key,) = account.fallback_key.values()
        self._account.mark_keys_as_published()
        return key.to_bytes()

    def outbound(self, identity_key: bytes, prekey: bytes) -> "OlmSession":
        """A session to a device, by its identity key and a prekey whose signature was checked."""
        if not (is_good_exchange_key(identity_key) and is_good_exchange_key(prekey)):
            raise UntrustedDevice("a device published a key that is not canonical or leads to no secret")
        identity, one_time = v.Curve25519PublicKey.from_bytes(identity_key), v.Curve25519PublicKey.from_bytes(prekey)
        return OlmSession(self._account.create_outbound_session(identity, one_time))

    def inbound(self, identity_key: bytes, message: bytes) -> tuple["OlmSession", bytes]:
        """The session that a prekey message opens, and its plaintext. Consumes its prekey. Raises CannotDecrypt."""
        identity = v.Curve25519PublicKey.from_bytes(identity_key)
        try:
            session, plaintext = self._account.create_inbound_session(identity, _prekey(message))
        except v.SessionCreationException:
            raise CannotDecrypt(Reason.NO_SESSION) from None
        return OlmSession(session), plaintext


class OlmSession:
    """One Double Ratchet with one device."""

    def __init__(self, session: v.Session) -> None:
        self._session = session

    @classmethod
    def restore(cls, pickle: str) -> Self:
        """The session as it was pickled."""
        return cls(v.Session.from_pickle(pickle, _PICKLE_KEY))

    def pickle(self) -> str:
        """Everything, secrets included: encrypt it."""
        return self._session.pickle(_PICKLE_KEY)

    @property
    def id(self) -> str:
        """The session id, the same on both sides."""
        return self._session.session_id

    def encrypt(self, plaintext: bytes) -> tuple[Cipher, bytes]:
        """Turn the ratchet. Until the other side has answered, each message can open the session there."""
        kind, ciphertext = self._session.encrypt(plaintext).to_parts()
        return (Cipher.OLM_PREKEY if kind == 0 else Cipher.OLM), ciphertext

    def decrypt(self, cipher: Cipher, ciphertext: bytes) -> bytes:
        """Return the plaintext. Raises CannotDecrypt, and the session is then as it was."""
        # vodozemac masks bit 255 of a key: what it takes as equal would otherwise be two messages.
        check_olm_message(cipher, ciphertext)
        try:
            kind = v.AnyOlmMessage.pre_key if cipher is Cipher.OLM_PREKEY else v.AnyOlmMessage.normal
            return self._session.decrypt(kind(ciphertext))
        except v.DecodeException:
            raise CannotDecrypt(Reason.MALFORMED) from None
        except v.OlmDecryptionException:
            raise CannotDecrypt(Reason.TAMPERED) from None


def session_of(prekey_message: bytes) -> str:
    """Return the id of the session that a prekey message belongs to. Raises CannotDecrypt."""
    return _prekey(prekey_message).session_id()


class OwnMegolm:
    """This device's sender key of one group."""

    def __init__(self, session: v.GroupSession) -> None:
        self._session = session

    @classmethod
    def generate(cls) -> Self:
        """A fresh sender key."""
        return cls(v.GroupSession())

    @classmethod
    def restore(cls, pickle: str) -> Self:
        """The sender key as it was pickled."""
        return cls(v.GroupSession.from_pickle(pickle, _PICKLE_KEY))

    def pickle(self) -> str:
        """Everything, secrets included: encrypt it."""
        return self._session.pickle(_PICKLE_KEY)

    @property
    def id(self) -> bytes:
        """The session id, 32 bytes."""
        return _from_base64(self._session.session_id)

    @property
    def key(self) -> str:
        """What opens every message from the current step on, and none before it."""
        return self._session.session_key.to_base64()

    def encrypt(self, plaintext: bytes) -> bytes:
        """Turn the ratchet."""
        return self._session.encrypt(plaintext).to_bytes()


class Opened(NamedTuple):
    """A plaintext and the step of the sender key that sealed it: Megolm opens the same step as often as asked."""

    plaintext: bytes
    step: int


class PeerMegolm:
    """A sender key that another device shared."""

    def __init__(self, session: v.InboundGroupSession) -> None:
        self._session = session

    @classmethod
    def accept(cls, key: str) -> Self:
        """The sender key as it was shared. Raises CannotDecrypt."""
        try:
            return cls(v.InboundGroupSession(v.SessionKey(key)))
        except v.SessionKeyDecodeException:
            raise CannotDecrypt(Reason.MALFORMED) from None

    @classmethod
    def restore(cls, pickle: str) -> Self:
        """The sender key as it was pickled."""
        return cls(v.InboundGroupSession.from_pickle(pickle, _PICKLE_KEY))

    def pickle(self) -> str:
        """Everything, secrets included: encrypt it."""
        return self._session.pickle(_PICKLE_KEY)

    @property
    def id(self) -> bytes:
        """The session id, 32 bytes."""
        return _from_base64(self._session.session_id)

    def opens_more_than(self, other: "PeerMegolm") -> bool:
        """Whether this is the same key from an earlier step: then it replaces the other."""
        # A member may share a key again from an earlier step, and never another key under the same id.
        step = other._session.first_known_index  # noqa: SLF001 - another of the same class
        if self._session.first_known_index >= step:
            return False
        mine, theirs = self._session.export_at(step), other._session.export_at(step)  # noqa: SLF001 - the same
        return mine is not None and theirs is not None and mine.to_base64() == theirs.to_base64()

    def decrypt(self, ciphertext: bytes) -> Opened:
        """Return the plaintext and its step. Raises CannotDecrypt."""
        try:
            opened = self._session.decrypt(v.MegolmMessage.from_bytes(ciphertext))
        except v.DecodeException:
            raise CannotDecrypt(Reason.MALFORMED) from None
        except v.MegolmDecryptionException:
            raise CannotDecrypt(Reason.TAMPERED) from None
        return Opened(opened.plaintext, opened.message_index)


def _prekey(message: bytes) -> v.PreKeyMessage:
    check_olm_message(Cipher.OLM_PREKEY, message)
    try:
        prekey = v.AnyOlmMessage.pre_key(message).to_pre_key()
    except v.DecodeException:
        raise CannotDecrypt(Reason.MALFORMED) from None
    assert prekey is not None
    return prekey


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
