"""Everything this device can do with keys: encrypt a body for a roster, decrypt and check what arrives.

Every call runs inside the caller's transaction, so that an advanced ratchet and its result are stored together or not
at all.
"""

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from msgspec.structs import replace

from varde.crypto import CannotDecrypt
from varde.crypto.binding import binding_of
from varde.crypto.outer import NOTHING
from varde.crypto.pairwise import Pairwise
from varde.crypto.sender_keys import SenderKeys
from varde.crypto.transcript import Transcript
from varde.crypto.trust import Trust
from varde.errors import UntrustedDevice
from varde.events import Break, Reason
from varde.sayings import text_of
from varde.store.outbox import Draft, EncryptedDraft
from varde.store.people import KnownDevice
from varde.store.ratchets import Pair
from varde.store.store import Store
from varde_contract.bodies import Body, Empty, GroupKey, Invite
from varde_contract.envelope import (
    ENVELOPE_VERSION,
    INCARNATION_BYTES,
    ChainHead,
    Cipher,
    Envelope,
    Misattributed,
    Said,
    SealedParts,
    UnknownEnvelope,
    encode_envelope,
    join_sealed,
    lists_digest,
    message_digest,
    open_envelope,
    split_sealed,
)
from varde_contract.errors import PeerFault
from varde_contract.frames import New
from varde_contract.ids import AccountId, ConversationId, DeviceId
from varde_contract.limits import DEVICES_PER_SEND, FIRST_WORDS_CHARACTERS
from varde_contract.membership import Membership
from varde_contract.rest.people import ClaimedKeys
from varde_contract.rest.talk import ConversationView, ListHead, WordsView
from varde_contract.talk import ConversationKind

NO_SESSION = join_sealed(SealedParts(Cipher.OLM, b"", NOTHING))

DEVICES_PER_PART = DEVICES_PER_SEND
"""A group with more devices is sent what is for each of them in parts."""

RESETTABLE = frozenset({Reason.NO_SESSION, Reason.TAMPERED})
"""A store that was restored or lost looks to the other side like one of these. No fresh ratchet helps against the
others: what is malformed or somebody else's stays so."""


class OwnDevice(NamedTuple):
    """Who this device is."""

    account: AccountId
    device: DeviceId


class Opened(NamedTuple):
    """An opened message, and how it does not fit the ones before it."""

    envelope: Envelope | UnknownEnvelope
    breaks: tuple[Break, ...]


class Keychain:
    """The keys of one device."""

    def __init__(self, store: Store, own: OwnDevice) -> None:
        self._store = store
        self._own = own
        self._pairwise = Pairwise(store, own.account, own.device)
        self._sender_keys = SenderKeys(store)
        self.trust = Trust(store, own.account)
        self.transcript = Transcript(store, own.device)

    def peers(self, view: ConversationView) -> dict[DeviceId, KnownDevice]:
        """Return the devices of a verified roster without this one: the recipients of a message."""
        known = (self._store.pins.device(each.device) for each in view.devices if each.device != self._own.device)
        return {peer.device: peer for peer in known if peer is not None}

    def without_session(self, view: ConversationView) -> tuple[DeviceId, ...]:
        """Return the devices a prekey must be claimed of before something can be encrypted for each."""
        pending_resets = self._store.ratchets.pending_resets(view.conversation)
        return tuple(
            device
            for device in self.peers(view)
            if device in pending_resets or not self._store.ratchets.has_session(Pair(view.conversation, device))
        )

    def start_sessions(self, view: ConversationView, claimed: ClaimedKeys) -> None:
        """Open a ratchet with each claimed prekey. Raises UntrustedDevice for a prekey its device did not sign."""
        peers = self.peers(view)
        for key in claimed.keys:
            if key.device not in peers:
                raise UntrustedDevice("a prekey was given for a device that is not in the roster")
            self._pairwise.start(Pair(view.conversation, key.device), peers[key.device], key)

    def part(self, view: ConversationView, now_ms: int, *, reset: bool) -> frozenset[DeviceId] | None:
        """Return the devices that the next send is for, where one cannot name all of a group; else None.

        They are some of those that lack the sender key, or whose sessions are to be reset.
        """
        if view.kind is not ConversationKind.GROUP or len(view.devices) - 1 <= DEVICES_PER_PART:
            return None
        peers = self.peers(view).keys()
        lacking = self._sender_keys.without(view.conversation, peers, now_ms)
        wanted = self._store.ratchets.pending_resets(view.conversation) & peers if reset else lacking
        return frozenset(sorted(wanted)[:DEVICES_PER_PART])

    def encrypt_for_each(
        self, view: ConversationView, draft: Draft, body: Body, part: AbstractSet[DeviceId] | None = None
    ) -> EncryptedDraft:
        """Encrypt for every device of the roster, or of a part of it, each on its own session."""
        envelope = self._envelope(view, draft, body, part=part is not None)
        # One without a prekey gets NO_SESSION: the relay wants a ciphertext for every device, and to leave one out
        # would let whoever empties a device's prekeys stop all others from talking.
        peers = {device: peer for device, peer in self.peers(view).items() if part is None or device in part}
        sealed = {device: self._encrypt_for(peer, envelope) for device, peer in peers.items()}
        return replace(_encrypted(view, envelope, devices=sealed), part=part is not None)

    def must_share(self, view: ConversationView, now_ms: int) -> bool:
        """Whether the group must be given a sender key before its next message."""
        return self._sender_keys.must_share(view.conversation, self.peers(view).keys(), now_ms)

    def share(self, view: ConversationView, now_ms: int, part: AbstractSet[DeviceId] | None = None) -> GroupKey:
        """Return the sender key to send to each device of the group, or of a part of it."""
        return self._sender_keys.share(view.conversation, self.peers(view).keys(), now_ms, part)

    def withdraw_share(self, conversation: ConversationId) -> None:
        """Forget this device's sender key: sharing it was refused, so nobody knows who has it."""
        self._sender_keys.withdraw(conversation)

    def encrypt_for_group(self, view: ConversationView, draft: Draft, body: Body) -> EncryptedDraft:
        """Encrypt once for everybody the sender key was shared with."""
        envelope = self._envelope(view, draft, body)
        parts = self._sender_keys.encrypt(view.conversation, encode_envelope(envelope))
        return _encrypted(view, envelope, group=join_sealed(parts))

    def open(self, new: New) -> Opened:
        """Decrypt a message, check it against its frame and the transcript, and store a sender key.

        Raises CannotDecrypt.
        """
        pair = Pair(new.conversation, new.sender_device)
        # Before anything is decrypted: what a stranger sent turns no ratchet.
        peer = self.trust.sender(new.conversation, new.sender_device, new.sender_profile)
        try:
            parts = split_sealed(new.ciphertext)
        except PeerFault:
            raise CannotDecrypt(Reason.MALFORMED) from None
        kind = self._kind(new.conversation)
        if parts.cipher is Cipher.MEGOLM and kind is not ConversationKind.GROUP:
            raise CannotDecrypt(Reason.MISATTRIBUTED)
        plaintext, afresh = self._decrypt(pair, peer, parts, new)
        # Olm says who wrote, not for whom: what was made for another device of this account is refused here.
        recipient = None if parts.cipher is Cipher.MEGOLM else self._own.device
        envelope = _check(plaintext, _said(new, kind, peer.account, recipient))
        if isinstance(envelope.body, Invite):
            raise CannotDecrypt(Reason.MISATTRIBUTED)  # it comes with a request, and never in the log
        self._apply(pair, envelope, afresh=afresh)
        return Opened(envelope, self.transcript.receive(new.seq, envelope, message_digest(plaintext)))

    def encrypt_words(
        self,
        state: Membership,
        draft: Draft,
        lists: Sequence[ListHead],
        devices: Sequence[KnownDevice],
        keys: ClaimedKeys,
        proof: bytes | None = None,
    ) -> dict[DeviceId, bytes]:
        """Encrypt the first words for devices of somebody who is only invited, as far as there are sessions with them.

        With the `proof` that they come by a link. They are a life of their own in the transcript: whoever never reads
        them misses nothing. Raises UntrustedDevice.
        """
        peers = {peer.device: peer for peer in devices}
        for key in keys.keys:
            if key.device not in peers:
                raise UntrustedDevice("a prekey was given for a device that is not the invited one's")
            self._pairwise.start(Pair(draft.conversation, key.device), peers[key.device], key)
        envelope = Envelope(
            version=ENVELOPE_VERSION,
            conversation=draft.conversation,
            kind=state.kind,
            chain=ChainHead(state.number, state.head),
            lists=lists_digest((head.account, head.number, head.hash) for head in lists),
            account=self._own.account,
            profile=draft.profile,
            device=self._own.device,
            recipient=None,
            client_id=draft.client_id,
            written_ms=draft.written_ms,
            # Random each time: it has no place between messages, and must not look like a hole there.
            incarnation=os.urandom(INCARNATION_BYTES),
            counter=1,
            previous=None,
            seen=(),
            checkpoint=self._store.transparency.seen(),
            body=Invite(state.number, state.head, text_of(draft.said)[:FIRST_WORDS_CHARACTERS], proof),
        )
        sealed = {device: self._encrypt_for(peer, envelope) for device, peer in peers.items()}
        # Unlike a message, words need not go to every device: one without a prekey reads the text after the acceptance.
        return {device: each for device, each in sealed.items() if each != NO_SESSION}

    def open_words(self, conversation: ConversationId, words: WordsView) -> Invite:
        """Return the first words of an invitation whose statement was verified. Raises CannotDecrypt."""
        peer = self.trust.sender(conversation, words.device, words.profile)
        try:
            parts = split_sealed(words.ciphertext)
        except PeerFault:
            raise CannotDecrypt(Reason.MALFORMED) from None
        if parts.cipher not in {Cipher.OLM, Cipher.OLM_PREKEY}:
            raise CannotDecrypt(Reason.MISATTRIBUTED)
        plaintext, _ = self._pairwise.decrypt(Pair(conversation, words.device), peer, parts)
        kind = self._kind(conversation)
        ends = words.profile, words.device, self._own.device, words.client_id
        body = _check(plaintext, Said(conversation, kind, peer.account, *ends)).body
        # What they name is the membership that the writer saw: another one here means that the server showed two.
        if not isinstance(body, Invite) or self._store.chains.hash_of(conversation, body.number) not in {
            None,
            body.hash,
        }:
            raise CannotDecrypt(Reason.MISATTRIBUTED)
        return body

    def start_anew(self) -> None:
        """This store is old: encrypt with nothing that it holds, and begin a new life in every transcript.

        Sessions stay for reading what is still on its way. Prekeys whose private halves are lost are used up by others,
        and each such message asks for a session reset.
        """
        self.transcript.start_incarnation()
        self._store.ratchets.stop_sending()
        self._store.sender_keys.drop_all_own()

    def request_reset(self, new: New, reason: Reason, now_ms: int) -> bool:
        """Note that a message could not be decrypted because a ratchet is lost; True when the sender must be told."""
        return reason in RESETTABLE and self._store.ratchets.request_reset(
            Pair(new.conversation, new.sender_device), now_ms
        )

    def _encrypt_for(self, peer: KnownDevice, envelope: Envelope) -> bytes:
        plaintext = encode_envelope(replace(envelope, recipient=peer.device))
        parts = self._pairwise.encrypt(Pair(envelope.conversation, peer.device), peer, plaintext)
        return NO_SESSION if parts is None else join_sealed(parts)

    def _envelope(self, view: ConversationView, draft: Draft, body: Body, *, part: bool = False) -> Envelope:
        """Return the envelope for everybody: only the recipient differs, which the digest leaves out."""
        binding, place = binding_of(self._store, view), self.transcript.next(draft.conversation, part=part)
        return Envelope(
            version=ENVELOPE_VERSION,
            conversation=draft.conversation,
            kind=binding.kind,
            chain=binding.chain,
            lists=binding.lists,
            account=self._own.account,
            profile=draft.profile,
            device=self._own.device,
            recipient=None,
            client_id=draft.client_id,
            written_ms=draft.written_ms,
            incarnation=place.incarnation,
            counter=place.counter,
            previous=place.previous,
            seen=place.seen,
            checkpoint=binding.checkpoint,
            body=body,
            parts=place.parts,
        )

    def _decrypt(self, pair: Pair, peer: KnownDevice, parts: SealedParts, new: New) -> tuple[bytes, bool]:
        if parts.cipher is Cipher.MEGOLM:
            return self._sender_keys.decrypt(pair, parts, (new.seq, new.client_id)), False
        return self._pairwise.decrypt(pair, peer, parts)

    def _kind(self, conversation: ConversationId) -> ConversationKind:
        chain = self._store.chains.find(conversation)
        assert chain is not None, "whose sender is known was a member"
        return chain.state.kind

    def _apply(self, pair: Pair, envelope: Envelope | UnknownEnvelope, *, afresh: bool) -> None:
        if isinstance(envelope.body, GroupKey):
            if envelope.kind is not ConversationKind.GROUP:
                # Whoever holds a key would read what is said to two people, without a device that anybody sees.
                raise CannotDecrypt(Reason.MISATTRIBUTED)
            self._sender_keys.accept(pair, envelope.body)
        elif isinstance(envelope.body, Empty) and afresh:
            # An empty message on a fresh ratchet means that the peer lost state, perhaps this device's sender key.
            self._sender_keys.withdraw(pair.conversation)


def _encrypted(
    view: ConversationView,
    envelope: Envelope,
    *,
    group: bytes | None = None,
    devices: dict[DeviceId, bytes] | None = None,
) -> EncryptedDraft:
    digest = message_digest(encode_envelope(envelope))
    return EncryptedDraft(view.roster_version, envelope.incarnation, envelope.counter, digest, group, devices)


def _said(new: New, kind: ConversationKind, account: AccountId, recipient: DeviceId | None) -> Said:
    return Said(new.conversation, kind, account, new.sender_profile, new.sender_device, recipient, new.client_id)


def _check(plaintext: bytes, said: Said) -> Envelope | UnknownEnvelope:
    try:
        return open_envelope(plaintext, said)
    except Misattributed:
        raise CannotDecrypt(Reason.MISATTRIBUTED) from None
    except PeerFault:
        raise CannotDecrypt(Reason.MALFORMED) from None
