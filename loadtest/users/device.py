"""One device as it speaks `varde.v1`: what it has joined, had, confirmed, and sent without an answer so far."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol

from msgspec import Struct

from loadtest.crowd.crowd import Seat
from loadtest.users.line import Line
from loadtest.users.rooms import Cursor, LiveRoom
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.noise import KeyPair
from varde_contract.refusals import RefusalCode
from varde_contract.session import PROTOCOL_VERSION, ClientSession, Pattern

if TYPE_CHECKING:
    from loadtest.users.ground import Ground

UNANSWERED: Final = 1_024
"""Sends of one device; beyond, it takes no more until some are answered."""
UNCONFIRMED: Final = 32
"""Messages that are confirmed without waiting for the time to come."""
_SEND: Final = f.tag_of(f.Send)
_JOIN: Final = f.tag_of(f.Join)
_CONFIRM: Final = f.tag_of(f.Delivered)
_NOT_NOW: Final = frozenset({RefusalCode.RATE_LIMITED, RefusalCode.UNAVAILABLE, RefusalCode.OVERLOADED})


class Unanswered(NamedTuple):
    """A send, as it is said again with the same client id."""

    room: LiveRoom
    seq: int
    frame: bytes


class Keeper(Protocol):
    """Who keeps a device: told of what concerns its connection. Nobody may wait in these."""

    def welcomed(self, welcome: f.Welcome) -> None:
        """The relay knows the device."""

    def listening(self) -> None:
        """Every conversation is joined."""

    def try_ready(self) -> None:
        """There is a conversation more to write to."""

    def asked_to_go(self, goaway: f.Goaway) -> None:
        """The node will close."""

    def turned_away(self) -> None:
        """The relay will not let the device listen."""

    def answered(self) -> None:
        """Nothing is without an answer any more."""


class Device:
    """The protocol's side of a user. `number` is its seat."""

    __slots__ = (
        "_cursors",
        "_ground",
        "_keeper",
        "_line",
        "_owing",
        "_seat",
        "_session",
        "joined",
        "number",
        "unanswered",
    )

    def __init__(self, ground: "Ground", number: int, keeper: Keeper) -> None:
        self._ground, self._keeper = ground, keeper
        self.number = number
        self._seat: Seat = ground.seat(number)
        self._cursors: dict[int, Cursor] = {}
        self._session: ClientSession | None = None
        self._line: Line | None = None
        self._owing = False
        self.joined = 0
        """Conversations that this connection listens to."""
        self.unanswered: dict[int, Unanswered] = {}
        """By client id."""

    def greet(self, line: Line) -> None:
        """Begin the handshake: the WebSocket is there."""
        hello = f.Hello(PROTOCOL_VERSION, self._ground.tickets.of(self.number), self._seat.device)
        static = KeyPair.from_private(self._seat.noise_private)
        self._session = ClientSession(static, hello, relay_key=self._ground.relay_key, pattern=Pattern.IK)
        self._line = line
        line.write(self._session.open())

    def part(self) -> None:
        """The line is gone."""
        self._line = self._session = None
        self._owing = False
        self.joined = 0

    def hear(self, message: bytes) -> None:
        """Take one message of the relay. Raises PeerFault."""
        session = self._session
        if session is not None:
            for frame in session.receive(message):
                if self._session is session:  # else the frame before ended the connection
                    self._HEARD[type(frame)](self, frame)

    @property
    def can_send(self) -> bool:
        """Whether there is a conversation to write to."""
        return any(cursor.room.complete for cursor in self._cursors.values())

    def send(self, intended_ns: int) -> bool:
        """Say a message that was due at that time of the run. False: it cannot be said here, and nothing was booked."""
        session, line = self._session, self._line
        room = self._choose_room()
        if room is None or session is None or line is None or len(self.unanswered) >= UNANSWERED:
            return False
        ground = self._ground
        size = min(ground.draw_size(), room.most)
        draft = ground.book.draw(self.number, room.number, intended_ns, size, room.due)
        client = ground.draw_client_id()
        encoded = codec.encode_frame(room.frame(client, self._seat.profile, self.number, draft.payload))
        self.unanswered[client.int] = Unanswered(room, draft.seq, encoded)
        line.write(session.send_one(f.Send, encoded))
        return True

    def confirm(self) -> None:
        """Tell the relay what is held, as far as it does not know."""
        owing = [cursor for cursor in self._cursors.values() if cursor.owing] if self._owing else []
        self._owing = False
        for cursor in owing:
            self._confirm(cursor)

    def _confirm(self, cursor: Cursor) -> None:
        cursor.owing, cursor.unconfirmed = False, 0
        if self._session is not None and self._line is not None:
            confirmed = codec.encode_frame(f.Delivered(cursor.room.conversation, cursor.seen))
            self._line.write(self._session.send_one(f.Delivered, confirmed))

    def _choose_room(self) -> LiveRoom | None:
        cursors = self._cursors
        if len(cursors) == 1:
            (cursor,) = cursors.values()
            return cursor.room if cursor.room.complete else None
        rooms = [cursor.room for cursor in cursors.values() if cursor.room.complete]
        return self._ground.dice.choice(rooms) if rooms else None

    # Frames of the relay

    def _on_welcome(self, frame: f.Welcome) -> None:
        assert self._session is not None
        assert self._line is not None
        self._keeper.welcomed(frame)
        self._line.write(self._session.send(f.Join()))

    def _on_joined(self, frame: f.Joined) -> None:
        room = self._ground.room_of(frame.conversation)
        if room is None:
            return  # a conversation of this device that the run does not know of
        cursor = self._cursors.get(frame.conversation.int)
        if cursor is None:
            cursor = self._cursors[frame.conversation.int] = Cursor(room)
        cursor.join(frame)
        if cursor.told < cursor.seen:
            self._owe(cursor)
        self.joined += 1
        if self.joined == len(self._seat.rooms):
            self._settle_in()

    def _settle_in(self) -> None:
        """Say again what nobody answered for, in order; then be there for more."""
        assert self._session is not None
        assert self._line is not None
        for each in self.unanswered.values():
            self._ground.book.resend(self.number, each.room.number, each.seq)
            self._line.write(self._session.send_one(f.Send, each.frame))
        self._keeper.listening()
        for cursor in self._cursors.values():
            cursor.room.enter(self.number, self._keeper.try_ready)

    def _on_new(self, frame: f.New) -> None:
        cursor = self._cursors.get(frame.conversation.int)
        if cursor is None or not cursor.take(frame.seq):
            return
        self._ground.book.receive(self.number, cursor.room.number, frame.sealed)
        cursor.unconfirmed += 1
        if cursor.unconfirmed >= UNCONFIRMED:
            self._confirm(cursor)
        elif not cursor.owing:
            self._owe(cursor)

    def _on_gap(self, frame: f.Gap) -> None:
        cursor = self._cursors.get(frame.conversation.int)
        if cursor is None:
            return
        new = cursor.skip(frame.from_seq, frame.to_seq)
        if new and frame.why is not f.GapReason.OWN:
            self._ground.book.gap(self.number, cursor.room.number, new, frame.why.value)

    def _on_ack(self, frame: f.Ack) -> None:
        answered = self.unanswered.pop(frame.client_id.int, None)
        if answered is not None:
            self._ground.book.ack(self.number, answered.room.number, answered.seq)
            if not self.unanswered:
                self._keeper.answered()

    def _on_refused(self, frame: f.RefusedFrame) -> None:
        if frame.about == _SEND and frame.subject is not None:
            self._send_refused(frame, self.unanswered.pop(frame.subject.int, None))
        elif frame.about == _JOIN:
            self._keeper.turned_away()
        elif frame.about == _CONFIRM and frame.subject is not None and frame.code in _NOT_NOW:
            cursor = self._cursors.get(frame.subject.int)
            if cursor is not None:
                self._owe(cursor)

    def _send_refused(self, frame: f.RefusedFrame, refused: Unanswered | None) -> None:
        if refused is None:
            return
        self._ground.book.refuse(self.number, refused.room.number, refused.seq, frame.code.value)
        if frame.stale is not None:
            refused.room.version = max(refused.room.version, frame.stale.roster_version)
        if not self.unanswered:
            self._keeper.answered()

    def _on_changed(self, frame: f.Changed) -> None:
        room = None if frame.conversation is None else self._ground.room_of(frame.conversation)
        if room is not None and frame.kind is not f.ChangeKind.KEYS_LOW:
            room.version = max(room.version, frame.value)

    def _on_goaway(self, frame: f.Goaway) -> None:
        self._keeper.asked_to_go(frame)

    def _pass(self, frame: Struct) -> None:
        """Receipts, signs of life and what was left out concern nobody here."""

    def _owe(self, cursor: Cursor) -> None:
        cursor.owing = True
        if not self._owing:
            self._owing = True
            self._ground.confirm_later(self)

    _HEARD: ClassVar[dict[type[Struct], Callable[..., None]]] = {
        f.Welcome: _on_welcome,
        f.Joined: _on_joined,
        f.New: _on_new,
        f.Gap: _on_gap,
        f.Ack: _on_ack,
        f.RefusedFrame: _on_refused,
        f.Changed: _on_changed,
        f.Goaway: _on_goaway,
        **dict.fromkeys((f.DeliveredBy, f.ReadBy, f.TypingBy, f.PresenceOf, f.Lagging), _pass),
    }
