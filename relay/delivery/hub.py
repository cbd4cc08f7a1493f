"""Who is connected and who listens where; publishing walks the listeners of a conversation.

(One verb waits: for everybody to have gone.)
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import trio
from msgspec import Struct

from domain.talk.model import Committed, Draft, Roster
from varde_contract.closing import CloseCode
from varde_contract.codec import encode_frame
from varde_contract.frames import Gap, New
from varde_contract.ids import ConversationId, DeviceId, ProfileId
from varde_contract.talk import GapReason, PresenceState

if TYPE_CHECKING:
    from relay.connection.peer import Peer


class Listener:
    """One device listening to one conversation.

    `cursor` is the last number it was told, `head` the highest this node knows of. Live, the two are the same and what
    is published goes straight to the outbox; behind, the mailbox reads the log until they are the same again.
    """

    __slots__ = ("_fall_behind", "conversation", "cursor", "head", "live", "outbox", "peer", "roster")

    def __init__(self, peer: "Peer", conversation: ConversationId, fall_behind: Callable[["Listener"], None]) -> None:
        self.peer = peer
        self.outbox = peer.outbox
        self.conversation = conversation
        self.cursor = 0
        self.head = 0
        self.live = False
        self.roster: Roster | None = None
        """The last one that was seen to have the device in it."""
        self._fall_behind = fall_behind

    def start(self, cursor: int, head: int) -> None:
        """Stand at a number, behind until the log has been read from there; `head` is the last that is known of."""
        self.cursor = cursor
        self.lag(head)

    def hear(self, seq: int, kind: type[Struct], encoded: bytes) -> None:
        """Take a published number: told at once if it is the next, otherwise read from the log in its turn."""
        if self.live and seq == self.cursor + 1:
            self.cursor = self.head = seq
            self.outbox.push(kind, encoded)
        elif seq > self.cursor:
            self.lag(seq)

    def check(self, roster: Roster) -> bool:
        """Whether the device is in a roster; remembered, since the same one is asked about for every message."""
        if self.peer.device not in roster.devices:
            return False
        self.roster = roster
        return True

    def lag(self, head: int) -> None:
        """Be behind: the log has to be read, up to `head` at least."""
        self.head = max(self.head, head)
        self.live = False
        self._fall_behind(self)

    def catch_up(self, head: int) -> bool:
        """Be live if everything up to `head`, the highest number there is, was told."""
        self.head = head
        self.live = self.cursor >= self.head
        return self.live


class Published(Struct, frozen=True):
    """A message that is committed, with the roster it was decided upon: nobody else may have it."""

    draft: Draft
    committed: Committed
    roster: Roster


_NO_ROOM: Final[dict[DeviceId, Listener]] = {}


class Hub:
    """The peers of this node by device, and the listeners by conversation and device."""

    def __init__(self) -> None:
        self._peers: dict[DeviceId, Peer] = {}
        self._rooms: dict[ConversationId, dict[DeviceId, Listener]] = {}
        self._shown: Counter[ProfileId] = Counter()
        self._departures = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def peers(self) -> Iterator["Peer"]:
        """Everybody connected, as of now."""
        return iter(tuple(self._peers.values()))

    @property
    def conversations(self) -> frozenset[ConversationId]:
        """Every conversation with a listener."""
        return frozenset(self._rooms)

    def find(self, device: DeviceId) -> "Peer | None":
        """Return the device's connection."""
        return self._peers.get(device)

    def enter(self, peer: "Peer") -> None:
        """Take in a connection that has proven to be alive; it replaces an older one of the same device."""
        older = self._peers.get(peer.device)
        if older is not None:
            self.leave(older)
            older.cut(CloseCode.REPLACED)
        self._peers[peer.device] = peer

    def leave(self, peer: "Peer") -> None:
        """Forget a connection and what it listens to. Does nothing the second time."""
        if self._peers.get(peer.device) is peer:
            del self._peers[peer.device]
            self._departures.unpark_all()
        for conversation in tuple(peer.listeners):
            self.drop(peer, conversation)

    async def wait_empty(self) -> None:
        """Return when nobody is connected. The deadline is the caller's."""
        while self._peers:
            await self._departures.park()

    def listen(self, listener: Listener) -> None:
        """Let a listener in: from here on it misses nothing. The membership is for the caller to check."""
        listener.peer.listeners[listener.conversation] = listener
        self._rooms.setdefault(listener.conversation, {})[listener.peer.device] = listener

    def drop(self, peer: "Peer", conversation: ConversationId) -> None:
        """Let a listener go."""
        if peer.listeners.pop(conversation, None) is not None:
            room = self._rooms[conversation]
            del room[peer.device]
            if not room:
                del self._rooms[conversation]

    def listeners(self, conversation: ConversationId) -> tuple[Listener, ...]:
        """Everybody who listens to a conversation, as of now."""
        return tuple(self._rooms.get(conversation, _NO_ROOM).values())

    def show(self, peer: "Peer", profile: ProfileId, state: PresenceState) -> None:
        """Note that a peer shows a profile as being there."""
        self._shown[profile] += profile not in peer.shown
        peer.shown[profile] = state

    def hide(self, peer: "Peer", profile: ProfileId) -> bool:
        """Note that it does so no more. True when nobody else here shows it."""
        if profile in peer.shown:
            del peer.shown[profile]
            self._shown[profile] -= 1
        if self._shown[profile] > 0:
            return False
        del self._shown[profile]
        return True

    def publish(self, published: Published) -> None:
        """Give a committed message to everybody who listens and may have it. Encoded once where one is for all."""
        draft, roster, seq = published.draft, published.roster, published.committed.seq
        room = self._rooms.get(draft.conversation, _NO_ROOM)
        everyone = None if draft.group is None else encode_frame(_new(published, draft.group))
        own = room.get(draft.device)
        for listener in tuple(room.values()):
            if listener.roster is not roster and not listener.check(roster):
                # It came or went since: the log knows what it may have.
                listener.lag(seq)
            elif listener is own:
                listener.hear(seq, Gap, encode_frame(Gap(draft.conversation, seq, seq, GapReason.OWN)))
            elif everyone is not None:
                # `hear` for nearly everybody: calls are what costs here.
                if listener.live and seq == listener.cursor + 1:
                    listener.cursor = listener.head = seq
                    listener.outbox.push(New, everyone)
                elif seq > listener.cursor:
                    listener.lag(seq)
            else:
                assert draft.devices is not None
                listener.hear(seq, New, encode_frame(_new(published, draft.devices[listener.peer.device])))

    def ring(self, conversation: ConversationId, head: int) -> None:
        """Numbers up to `head` are in the log, committed elsewhere: who has not been told reads them."""
        for listener in self.listeners(conversation):
            if head > listener.cursor:
                listener.lag(head)

    def ring_all(self) -> None:
        """Anything may have been committed elsewhere: everybody reads on."""
        for conversation in self.conversations:
            for listener in self.listeners(conversation):
                listener.lag(listener.cursor)

    def tell(self, conversation: ConversationId, audience: Iterable[DeviceId], frame: Struct) -> None:
        """Give a frame to those of the audience who listen to the conversation."""
        room = self._rooms.get(conversation)
        if not room:
            return
        encoded = encode_frame(frame)
        for device in audience:
            listener = room.get(device)
            if listener is not None:
                listener.peer.outbox.push(type(frame), encoded)

    def listening(self, conversation: ConversationId, audience: Iterable[DeviceId]) -> set[DeviceId]:
        """Return those of the audience who listen to the conversation."""
        room = self._rooms.get(conversation, _NO_ROOM)
        return {device for device in audience if device in room}

    def tell_devices(self, devices: Iterable[DeviceId], frame: Struct) -> None:
        """Give a frame to devices, once each."""
        encoded = encode_frame(frame)
        for device in devices:
            peer = self._peers.get(device)
            if peer is not None:
                peer.outbox.push(type(frame), encoded)


def _new(published: Published, sealed: bytes) -> New:
    draft, committed = published.draft, published.committed
    return New(
        conversation=draft.conversation,
        seq=committed.seq,
        message=committed.message,
        client_id=draft.client_id,
        sender_profile=draft.profile,
        sender_device=draft.device,
        time=committed.sent_ms,
        sealed=sealed,
    )
