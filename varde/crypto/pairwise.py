"""Messages for one device: a bundle of Olm ratchets for each conversation and peer device, each in an outer layer."""

from functools import cached_property

from varde.clock import now_ms
from varde.crypto import CannotDecrypt, outer
from varde.crypto.olm import OlmAccount, OlmSession, session_of
from varde.crypto.trust import check_signature
from varde.errors import UntrustedDevice
from varde.events import Reason
from varde.store.people import KnownDevice
from varde.store.ratchets import OuterState, Pair, StoredSession
from varde.store.store import Store
from varde_contract.envelope import Cipher, SealedParts
from varde_contract.ids import AccountId, DeviceId
from varde_contract.kem import KemKeyPair, is_good_kem_key
from varde_contract.rest.people import ClaimedKey
from varde_contract.signed_statements import fallback_key_statement, one_time_key_statement

OLM_ACCOUNT = "olm-account"
"""The setting that holds the pickled account."""


def load_account(store: Store) -> OlmAccount:
    """Return this device's account, as stored."""
    pickle = store.settings.find(OLM_ACCOUNT, str)
    assert pickle is not None, "a device without keys does not get this far"
    return OlmAccount.restore(pickle)


def keep_account(store: Store, account: OlmAccount) -> None:
    """Keep what changed of the account, within a transaction."""
    store.settings.put(OLM_ACCOUNT, account.pickle())


class Pairwise:
    """Olm over the store. Runs inside a transaction of the caller, so that ratchet and result are kept together."""

    def __init__(self, store: Store, account: AccountId, device: DeviceId) -> None:
        self._store = store
        self._account = account
        self._device = device

    def start(self, pair: Pair, peer: KnownDevice, claimed: ClaimedKey) -> None:
        """Open a ratchet to a device with a claimed prekey, and send on it from now on.

        Raises UntrustedDevice when the device's signing key did not sign the prekey.
        """
        statement = fallback_key_statement if claimed.fallback else one_time_key_statement
        key, kem_key = claimed.key.key, claimed.key.kem_key
        check_signature(peer.signing_key, statement(peer.device, key, kem_key), claimed.key.signature)
        if not is_good_kem_key(kem_key):
            raise UntrustedDevice("a device published a post-quantum key that is none")
        session = load_account(self._store).outbound(peer.identity_key, key)
        state = outer.begin(kem_key, self._ends(pair, peer), now_ms())
        self._put(pair, session, state, best=True)

    def encrypt(self, pair: Pair, peer: KnownDevice, plaintext: bytes) -> SealedParts | None:
        """Encrypt for the pair's device on the session that last received; None when there is no session."""
        found = self._store.ratchets.to_send_on(pair)
        if found is None:
            return None
        # Turned here, stored in the caller's transaction with the ciphertext: a crash repeats bytes and never a key.
        session = OlmSession.restore(found[1].pickle)
        cipher, ciphertext = session.encrypt(plaintext)
        content, state = outer.seal(found[1].outer, cipher, ciphertext, self._ends(pair, peer), now_ms())
        self._put(pair, session, state, best=False)
        return SealedParts(cipher, b"", content)

    def decrypt(self, pair: Pair, peer: KnownDevice, parts: SealedParts) -> tuple[bytes, bool]:
        """Return the plaintext, and whether the message opened a ratchet of its own. Raises CannotDecrypt."""
        message, ends = outer.parse(parts.cipher, parts.ciphertext), self._ends(pair, peer)
        for _, stored in self._store.ratchets.sessions(pair):
            try:
                ciphertext, state = outer.open_outer(stored.outer, message, ends, now_ms())
            except CannotDecrypt as fault:
                if fault.reason is not Reason.NO_SESSION:
                    raise
                continue  # the key belongs to another session of the pair
            session = OlmSession.restore(stored.pickle)
            plaintext = session.decrypt(parts.cipher, ciphertext)
            self._put(pair, session, state, best=True)
            return plaintext, False
        return self._open_session(pair, peer, parts.cipher, message), True

    def _open_session(self, pair: Pair, peer: KnownDevice, cipher: Cipher, message: outer.OuterMessage) -> bytes:
        private = self._store.kem_prekeys.find(message.kem_id)
        if private is None or cipher is not Cipher.OLM_PREKEY:
            raise CannotDecrypt(Reason.NO_SESSION)
        ends = self._ends(pair, peer)
        state = outer.accept(KemKeyPair.from_private(private), message, ends, now_ms())
        ciphertext, state = outer.open_outer(state, message, ends, now_ms())
        if session_of(ciphertext) in dict(self._store.ratchets.sessions(pair)):
            raise CannotDecrypt(Reason.TAMPERED)  # a session has one outer layer for life
        # With the identity key of the device list, not with the one in the message: so the list says who it is.
        account = load_account(self._store)
        session, plaintext = account.inbound(peer.identity_key, ciphertext)
        keep_account(self._store, account)
        # Only now: a message that somebody made up must not use up the key that an honest one needs.
        self._store.kem_prekeys.use_up(message.kem_id)
        self._put(pair, session, state, best=True)
        return plaintext

    def _put(self, pair: Pair, session: OlmSession, state: OuterState, *, best: bool) -> None:
        self._store.ratchets.put(pair, session.id, StoredSession(session.pickle(), state), best=best)

    def _ends(self, pair: Pair, peer: KnownDevice) -> outer.Ends:
        own = outer.End(self._account, self._device, self._identity_key)
        return outer.Ends(pair.conversation, own, outer.End(peer.account, peer.device, peer.identity_key))

    @cached_property
    def _identity_key(self) -> bytes:
        return load_account(self._store).identity_key
