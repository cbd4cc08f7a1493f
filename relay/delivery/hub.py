"""The peers of a node and who listens where. `publish` walks the listeners of a conversation without a checkpoint."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from domain.ports import BusListener
from domain.talk.model import Committed, Draft, LogEntry, Roster
from relay.connection.peer import Listener, Peer
from varde_contract.close_codes import CloseCode
from varde_contract.codec import encode_frame
from varde_contract.frames import Gap, New
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.talk import GapReason, PresenceState


class Published(Struct, frozen=True):
    """A committed message, with the roster it was allowed by: nobody outside that roster may have it."""

    draft: Draft
    committed: Committed
    roster: Roster


_NOBODY: Final[dict[DeviceId, Listener]] = {}


class Hub:
    """The peers of this node by device, and the listeners by conversation and device."""

    def __init__(self) -> None:
        self._peers: dict[DeviceId, Peer] = {}
        self._listeners: dict[ConversationId, dict[DeviceId, Listener]] = {}
        self._shown: Counter[ProfileId] = Counter()
        self.subscriptions: BusListener | None = None
        """Told of the first and the last listener of each conversation, once the node listens on the bus."""

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def peers(self) -> Iterator[Peer]:
        """Every connected peer, as of now."""
        return iter(tuple(self._peers.values()))

    @property
    def conversations(self) -> frozenset[ConversationId]:
        """Every conversation with a listener."""
        return frozenset(self._listeners)

    def find(self, device: DeviceId) -> Peer | None:
        """Return the device's peer."""
        return self._peers.get(device)

    def add(self, peer: Peer) -> bool:
        """Add a peer that has proven to be alive; it replaces an older connection of the same device.

        False when there is a newer one: then this peer is cut instead.
        """
        other = self._peers.get(peer.device)
        if other is not None and other.number > peer.number:
            peer.connection.cut(CloseCode.REPLACED)
            return False
        if other is not None:
            # Now, not when its task has ended: until then messages would go to a connection that sends nothing more.
            self.remove(other)
            other.connection.cut(CloseCode.REPLACED)
        self._peers[peer.device] = peer
        return True

    def remove(self, peer: Peer) -> None:
        """Remove a peer and its listeners. Does nothing the second time."""
        # By identity: the peer that replaced it has the same device.
        if self._peers.get(peer.device) is peer:
            del self._peers[peer.device]
        for conversation in tuple(peer.listeners):
            self.remove_listener(peer, conversation)

    def cut_all(self) -> None:
        """Let everybody come back, because the database is another one: positions and heads mean nothing any more."""
        for peer in self.peers:
            peer.connection.cut(CloseCode.DATABASE_LOST)

    def add_listener(self, listener: Listener) -> None:
        """Add a listener: it misses nothing from here on. The caller has checked that it is a member."""
        # Subscribe first, then read the head. The mailbox reads the log after this; what other nodes commit after that
        # and before the bus really hears the conversation is found by the look-up that the bus asks for once it does.
        if self.subscriptions is not None and listener.conversation not in self._listeners:
            self.subscriptions.subscribe(listener.conversation)
        listener.peer.listeners[listener.conversation] = listener
        self._listeners.setdefault(listener.conversation, {})[listener.peer.device] = listener

    def remove_listener(self, peer: Peer, conversation: ConversationId) -> None:
        """Remove a listener, if there is one."""
        if peer.listeners.pop(conversation, None) is not None:
            listeners = self._listeners[conversation]
            del listeners[peer.device]
            if not listeners:
                del self._listeners[conversation]
                if self.subscriptions is not None:
                    self.subscriptions.unsubscribe(conversation)

    def listeners(self, conversation: ConversationId) -> tuple[Listener, ...]:
        """Return everybody who listens to a conversation, as of now."""
        return tuple(self._listeners.get(conversation, _NOBODY).values())

    def shows(self, profile: ProfileId) -> bool:
        """Whether a peer of this node shows a profile as present."""
        return self._shown[profile] > 0

    def show_profile(self, peer: Peer, profile: ProfileId, state: PresenceState) -> None:
        """Note that a peer shows a profile as present."""
        self._shown[profile] += profile not in peer.shown
        peer.shown[profile] = state

    def hide_profile(self, peer: Peer, profile: ProfileId) -> bool:
        """Note that it does not any more. True when no other peer of this node shows it."""
        if profile in peer.shown:
            del peer.shown[profile]
            self._shown[profile] -= 1
        if self._shown[profile] > 0:
            return False
        # A counter keeps its zeros: one for each profile that was ever shown here.
        del self._shown[profile]
        return True

    def publish(self, published: Published) -> None:
        """Send a committed message to everybody who listens and may have it. A group's ciphertext is encoded once."""
        draft, committed, roster = published.draft, published.committed, published.roster
        seq = committed.seq
        listeners = self._listeners.get(draft.conversation, _NOBODY)
        everyone = (
            None if draft.group is None else encode_new(draft.conversation, draft, committed, ciphertext=draft.group)
        )
        own = listeners.get(draft.device)
        for listener in tuple(listeners.values()):
            # Almost always the roster is the same object as for the message before: `is` costs less than a look-up.
            if listener.roster is not roster and not listener.is_in(roster):
                # The device was added or removed since: the log knows what it may have.
                listener.fall_behind(seq)
            elif listener is own:
                listener.deliver(seq, Gap, encode_frame(Gap(draft.conversation, seq, seq, GapReason.OWN)))
            elif everyone is not None:
                # `deliver`, written out for nearly all deliveries: a call costs as much as the rest of it.
                if listener.live and seq == listener.cursor + 1:
                    listener.cursor = listener.head = seq
                    listener.outbox.push(New, everyone)
                elif seq > listener.cursor:
                    listener.fall_behind(seq)
            else:
                assert draft.devices is not None
                ciphertext = draft.devices.get(listener.peer.device)
                if ciphertext is None:
                    # It came while the sender encrypted. The log says so in the same words as to who reads it later.
                    listener.fall_behind(seq)
                else:
                    listener.deliver(seq, New, encode_new(draft.conversation, draft, committed, ciphertext=ciphertext))

    def note_head(self, conversation: ConversationId, head: int) -> None:
        """Have numbers up to `head`, committed elsewhere, read from the log by the listeners that lack them."""
        for listener in self.listeners(conversation):
            if head > listener.cursor:
                listener.fall_behind(head)

    def send_to_listeners(self, conversation: ConversationId, audience: Iterable[DeviceId], frame: Struct) -> None:
        """Send a frame to those of the audience who listen to the conversation."""
        listeners = self._listeners.get(conversation)
        if not listeners:
            return
        encoded = encode_frame(frame)
        for device in audience:
            listener = listeners.get(device)
            if listener is not None:
                listener.outbox.push(type(frame), encoded)

    def listening(self, conversation: ConversationId, audience: Iterable[DeviceId]) -> set[DeviceId]:
        """Return those of the audience who listen to the conversation."""
        listeners = self._listeners.get(conversation, _NOBODY)
        return {device for device in audience if device in listeners}

    def send_to_devices(self, devices: Iterable[DeviceId], frame: Struct) -> None:
        """Send a frame to devices, once each."""
        encoded = encode_frame(frame)
        for device in devices:
            peer = self._peers.get(device)
            if peer is not None:
                peer.outbox.push(type(frame), encoded)


def encode_new(
    conversation: ConversationId, sender: Draft | LogEntry, stored: Committed | LogEntry, *, ciphertext: bytes
) -> bytes:
    """Encode `msg:new`, of a message just committed (draft and outcome) or read from the log (the entry is both)."""
    return encode_frame(
        New(
            conversation=conversation,
            seq=stored.seq,
            message=stored.message,
            client_id=sender.client_id,
            sender_profile=sender.profile,
            sender_device=sender.device,
            time=stored.sent_ms,
            ciphertext=ciphertext,
        )
    )
