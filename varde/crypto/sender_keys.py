"""Messages for a group: one Megolm sender key per device and conversation, shared over Olm before its first message."""

from collections.abc import Set as AbstractSet

from varde.crypto import CannotDecrypt
from varde.crypto.olm import OwnMegolm, PeerMegolm
from varde.events import Reason
from varde.store.ratchets import OwnSenderKey, Pair
from varde.store.store import Store
from varde_contract.bodies import GroupKey
from varde_contract.envelope import Cipher, SealedParts
from varde_contract.ids import ClientId, ConversationId, DeviceId

DAY_MS = 24 * 60 * 60 * 1_000
# What a leaked sender key opens is bounded by time and by messages: Megolm does not heal by itself as Olm does.
ROTATE_AFTER_MS = 7 * DAY_MS
ROTATE_AFTER_MESSAGES = 100
"""Both as Matrix recommends for Megolm (m.room.encryption)."""


class SenderKeys:
    """Megolm over the store. Runs inside a transaction of the caller, so that ratchet and result are kept together."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def must_share(self, conversation: ConversationId, devices: AbstractSet[DeviceId], now_ms: int) -> bool:
        """Whether a key must be made or shared before the next group message for exactly these devices."""
        own = self._store.sender_keys.own(conversation)
        return own is None or _worn(own, devices, now_ms) or own.shared != devices

    def without(
        self, conversation: ConversationId, devices: AbstractSet[DeviceId], now_ms: int
    ) -> AbstractSet[DeviceId]:
        """Return those of the devices that lack the key which the next message is sealed with."""
        own = self._store.sender_keys.own(conversation)
        return devices if own is None or _worn(own, devices, now_ms) else devices - own.shared

    def share(
        self,
        conversation: ConversationId,
        devices: AbstractSet[DeviceId],
        now_ms: int,
        part: AbstractSet[DeviceId] | None = None,
    ) -> GroupKey:
        """Return the key to give to all of these devices, a fresh one where the old must not be used any more.

        Only those of `part` are given it now, if there is one. It opens messages from its current step on: who is new
        cannot read what was said before.
        """
        own = self._store.sender_keys.own(conversation)
        # The same key goes on where a device only came: it starts for the newcomer at the current step.
        if own is None or _worn(own, devices, now_ms):
            own = OwnSenderKey(OwnMegolm.generate().pickle(), now_ms, 0, frozenset())
        megolm = OwnMegolm.restore(own.pickle)
        given = frozenset(devices) if part is None else own.shared | part
        event = OwnSenderKey(own.pickle, own.made_ms, own.sealed, given)
        self._store.sender_keys.put_own(conversation, event)
        return GroupKey(megolm.id, megolm.key)

    def withdraw(self, conversation: ConversationId) -> None:
        """Drop the key, so that the next message shares a fresh one: somebody lost it, or nobody knows who has it."""
        self._store.sender_keys.drop_own(conversation)

    def encrypt(self, conversation: ConversationId, plaintext: bytes) -> SealedParts:
        """Encrypt one message for everybody the key was shared with."""
        own = self._store.sender_keys.own(conversation)
        assert own is not None, "share the key before the first message"
        megolm = OwnMegolm.restore(own.pickle)
        ciphertext = megolm.encrypt(plaintext)
        event = OwnSenderKey(megolm.pickle(), own.made_ms, own.sealed + 1, own.shared)
        self._store.sender_keys.put_own(conversation, event)
        return SealedParts(Cipher.MEGOLM, megolm.id, ciphertext)

    def accept(self, pair: Pair, body: GroupKey) -> None:
        """Store a key that the pair's device shared. Raises CannotDecrypt when it is not what it says."""
        shared = PeerMegolm.accept(body.key)
        if shared.id != body.session:
            raise CannotDecrypt(Reason.MALFORMED)
        known = self._store.sender_keys.find(pair, shared.id)
        if known is None or shared.opens_more_than(PeerMegolm.restore(known)):
            self._store.sender_keys.put(pair, shared.id, shared.pickle())

    def decrypt(self, pair: Pair, parts: SealedParts, message: tuple[int, ClientId]) -> bytes:
        """Return the plaintext of one message (seq, client id) of the pair's device. Raises CannotDecrypt."""
        pickle = self._store.sender_keys.find(pair, parts.session)
        if pickle is None:
            raise CannotDecrypt(Reason.NO_SESSION)
        opened = PeerMegolm.restore(pickle).decrypt(parts.ciphertext)
        # Megolm decrypts the same step as often as asked: only this record tells a replay.
        if not self._store.sender_keys.use(pair, parts.session, opened.step, message):
            raise CannotDecrypt(Reason.REPLAYED)
        return opened.plaintext


def _worn(own: OwnSenderKey, devices: AbstractSet[DeviceId], now_ms: int) -> bool:
    # Who is gone has the key, and perhaps a way to the ciphertext: so nothing more may be sealed with it.
    gone = own.shared - devices
    return bool(gone) or own.sealed >= ROTATE_AFTER_MESSAGES or not 0 <= now_ms - own.made_ms < ROTATE_AFTER_MS
