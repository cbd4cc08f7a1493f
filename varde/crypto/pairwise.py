"""Messages for one device: a bundle of Olm ratchets for each conversation and peer device."""

from varde.crypto import CannotDecrypt
from varde.crypto.certificates import check_signature
from varde.crypto.olm import OlmAccount, OlmSession, session_of
from varde.events import Reason
from varde.store.ratchets import Pair
from varde.store.store import Store
from varde_contract.envelope import Cipher, SealedParts
from varde_contract.rest.people import Certificate, ClaimedKey
from varde_contract.signed_statements import fallback_key_statement, one_time_key_statement

OLM_ACCOUNT = "olm-account"
"""The setting that holds the pickled account."""


class Pairwise:
    """Olm over the store. Runs inside a transaction of the caller, so that ratchet and result are kept together."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def account(self) -> OlmAccount:
        """Return this device's account, as stored."""
        pickle = self._store.settings.find(OLM_ACCOUNT, str)
        assert pickle is not None, "a device without keys does not get this far"
        return OlmAccount.restore(pickle)

    def keep_account(self, account: OlmAccount) -> None:
        """Keep what changed of the account."""
        self._store.settings.put(OLM_ACCOUNT, account.pickle())

    def start(self, pair: Pair, peer: Certificate, claimed: ClaimedKey) -> None:
        """Open a ratchet to a device with a claimed prekey, and send on it from now on.

        Raises UntrustedDevice when the device's signing key did not sign the prekey.
        """
        statement = fallback_key_statement if claimed.fallback else one_time_key_statement
        check_signature(peer.signing_key, statement(peer.device, claimed.key.key), claimed.key.signature)
        session = self.account().outbound(peer.identity_key, claimed.key.key)
        self._store.ratchets.put(pair, session.id, session.pickle(), best=True)

    def encrypt(self, pair: Pair, plaintext: bytes) -> SealedParts | None:
        """Encrypt for the pair's device on the session that last received; None when there is no session."""
        found = self._store.ratchets.to_send_on(pair)
        if found is None:
            return None
        session_id, pickle = found
        session = OlmSession.restore(pickle)
        cipher, ciphertext = session.encrypt(plaintext)
        self._store.ratchets.put(pair, session_id, session.pickle(), best=False)
        return SealedParts(cipher, b"", ciphertext)

    def decrypt(self, pair: Pair, peer: Certificate, parts: SealedParts) -> tuple[bytes, bool]:
        """Return the plaintext, and whether the message opened a ratchet of its own. Raises CannotDecrypt."""
        if parts.cipher is Cipher.OLM_PREKEY:
            return self._decrypt_prekey(pair, peer, parts.ciphertext)
        for session_id, pickle in self._store.ratchets.sessions(pair):
            session = OlmSession.restore(pickle)
            try:
                plaintext = session.decrypt(parts.cipher, parts.ciphertext)
            except CannotDecrypt:
                continue  # another session of the pair may open it
            self._store.ratchets.put(pair, session_id, session.pickle(), best=True)
            return plaintext, False
        raise CannotDecrypt(Reason.NO_SESSION)

    def _decrypt_prekey(self, pair: Pair, peer: Certificate, ciphertext: bytes) -> tuple[bytes, bool]:
        wanted = session_of(ciphertext)
        known = dict(self._store.ratchets.sessions(pair)).get(wanted)
        if known is not None:
            session = OlmSession.restore(known)
            plaintext = session.decrypt(Cipher.OLM_PREKEY, ciphertext)
        else:
            account = self.account()
            session, plaintext = account.inbound(peer.identity_key, ciphertext)
            self.keep_account(account)
        self._store.ratchets.put(pair, session.id, session.pickle(), best=True)
        return plaintext, known is None
