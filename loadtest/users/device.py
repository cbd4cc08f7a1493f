"""One device as it speaks `varde.v2`: what it has joined, had, confirmed, and sent without an answer so far."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from loadtest.client.epoll import Connection
from loadtest.client.protocol import Ending, Phase, RelayClient
from loadtest.crowd.crowd import Seat
from loadtest.users.conversation import Conversation, Position
from loadtest.users.population import CONFIRM_SECONDS, Population
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.noise import KeyPair
from varde_contract.refusals import RefusalCode
from varde_contract.session import PROTOCOL_VERSION

if TYPE_CHECKING:
    from loadtest.users.relay_user import RelayUser

UNANSWERED: Final = 1_024  # sends of one device; beyond, it takes no more until some are answered
_UNREAD_BYTES: Final = 65_536  # unsent beyond this, the relay does not read, and its pings are not answered
UNCONFIRMED: Final = 32  # messages of one conversation that are confirmed at once instead of after a second
_SEND: Final = f.tag_of(f.Send)
_JOIN: Final = f.tag_of(f.Join)
_CONFIRM: Final = f.tag_of(f.Delivered)
_NOT_NOW: Final = frozenset({RefusalCode.RATE_LIMITED, RefusalCode.UNAVAILABLE, RefusalCode.OVERLOADED})


class Unanswered(NamedTuple):
    """A message, as it is sent again with the same client id."""

    conversation: Conversation
    seq: int
    frame: bytes


class Device:
    """The protocol's side of a user. `number` is its seat."""

    __slots__ = (
        *("_client", "_confirms_later", "_population", "_positions", "_seat", "_user"),
        *("connection", "deaf", "joined", "number", "unanswered"),
    )

    _client: RelayClient  # of the last connection

    def __init__(self, population: Population, number: int, user: "RelayUser") -> None:
        """`user` is told of what concerns the connection."""
        self._population, self._user = population, user
        self.number = number
        self._seat: Seat = population.seats[number]
        self._positions: dict[int, Position] = {}
        self.connection: Connection | None = None
        self._confirms_later = False
        self.deaf = False  # whether nothing but the end of the connection is listened to
        self.joined = 0  # conversations that this connection listens to
        self.unanswered: dict[int, Unanswered] = {}  # by client id

    def connect(self, *, slow: bool) -> None:
        """Begin a connection; what goes wrong is told to the user, perhaps before this returns."""
        population, target = self._population, self._population.target
        hello = f.Hello(PROTOCOL_VERSION, population.tickets.of(self.number), self._seat.device)
        static = KeyPair.from_private(self._seat.noise_private)
        self._client = RelayClient(target.authority, target.path, hello, static, population.relay_key)
        self.connection = Connection(population.engine, self)
        where: dict[str, Any] = {"family": target.family, "tls": population.tls, "host": target.host}
        self.connection.connect(target.address, source=population.source_of(self.number), slow=slow, **where)

    def disconnect(self) -> None:
        """Close the socket, without a word to the relay or the user."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self._confirms_later = self.deaf = False
        self.joined = 0

    def close(self) -> bool:
        """Send a close frame, after which the relay may still speak. False: there is no WebSocket to close."""
        self._send(self._client.close())
        return self._client.phase is Phase.CLOSING

    # What its connection calls

    def open(self) -> bytes:
        """Return the upgrade request."""
        return self._client.open()

    def receive(self, received: bytes) -> bytes:
        """Take what the relay said."""
        events = self._client.receive(received)
        reply = self._client.take_reply()
        # Who does not read answers need not be answered.
        if self.connection is not None and self.connection.unsent < _UNREAD_BYTES:
            self._send(reply)
        for event in events:
            if self.connection is None:
                break  # the event before ended the connection
            handler = self._HANDLERS.get(type(event))
            if handler is not None and (not self.deaf or type(event) is Ending):
                handler(self, event)
        return b""

    def lost(self, reason: str) -> None:
        """The connection broke."""
        self._user.ended(Ending(reason))

    def _send(self, octets: bytes) -> None:
        if octets and self.connection is not None:
            self.connection.send(octets)

    @property
    def writable(self) -> list[Conversation]:
        """The conversations to which this device may write."""
        return [each.conversation for each in self._positions.values() if each.conversation.complete]

    def send(self, intended_ns: int) -> bool:
        """Send a message that was due at that time of the run. False: not now, and nothing was recorded."""
        rooms, population = self.writable, self._population
        if not rooms or self.connection is None or len(self.unanswered) >= UNANSWERED:
            return False
        room = rooms[0] if len(rooms) == 1 else population.dice.choice(rooms)
        size = min(population.draw_size(), room.most)
        draft = population.ledger.draw(self.number, room.number, intended_ns, size, room.due)
        client_id = population.draw_client_id()
        encoded = codec.encode_frame(room.frame(client_id, self._seat.profile, self.number, draft.payload))
        self.unanswered[client_id.int] = Unanswered(room, draft.seq, encoded)
        self.connection.send(self._client.send_encoded(f.Send, encoded))
        return True

    def confirm(self) -> None:
        """Tell the relay what is held, as far as it does not know."""
        if self._confirms_later:
            self._confirms_later = False
            for position in self._positions.values():
                if position.unconfirmed:
                    self._confirm(position)

    def _confirm(self, position: Position) -> None:
        position.unconfirmed = 0
        if self.connection is not None and self._client.live:
            confirmed = codec.encode_frame(f.Delivered(position.conversation.id, position.seen))
            self._send(self._client.send_encoded(f.Delivered, confirmed))

    def _confirm_later(self, position: Position) -> None:
        position.unconfirmed += 1
        if not self._confirms_later:
            self._confirms_later = True
            self._population.call_later(CONFIRM_SECONDS, self.confirm)

    # Frames of the relay

    def _on_welcome(self, frame: f.Welcome) -> None:
        self._user.welcomed(frame)
        if self._client.live:  # else it is leaving already
            self._send(self._client.send(f.Join()))

    def _on_joined(self, frame: f.Joined) -> None:
        room = self._population.conversations.get(frame.conversation.int)
        if room is None:
            return  # a conversation of this device that the run does not know of
        position = self._positions.get(frame.conversation.int)
        if position is None:
            position = self._positions[frame.conversation.int] = Position(room)
        position.join(frame)
        if position.told < position.seen:
            self._confirm_later(position)
        self.joined += 1
        if self.joined < len(self._seat.rooms):
            return
        # Say again what nobody answered for, in order; then be there for more.
        for each in self.unanswered.values():
            self._population.ledger.resend(self.number, each.conversation.number, each.seq)
            self._send(self._client.send_encoded(f.Send, each.frame))
        self._user.listening()
        for position in self._positions.values():
            position.conversation.enter(self.number, self._user.try_ready)

    def _on_new(self, frame: f.New) -> None:
        position = self._positions.get(frame.conversation.int)
        if position is None or not position.take(frame.seq):
            return
        self._population.ledger.receive(self.number, position.conversation.number, frame.ciphertext)
        self._confirm_later(position)
        if position.unconfirmed >= UNCONFIRMED:
            self._confirm(position)

    def _on_gap(self, frame: f.Gap) -> None:
        if (position := self._positions.get(frame.conversation.int)) is not None:
            new = position.skip(frame.from_seq, frame.to_seq)
            if new and frame.why is not f.GapReason.OWN:
                self._population.ledger.gap(self.number, position.conversation.number, new, frame.why.value)

    def _on_ack(self, frame: f.Ack) -> None:
        if (answered := self._answer(frame.client_id.int)) is not None:
            self._population.ledger.ack(self.number, answered.conversation.number, answered.seq)

    def _on_refused(self, frame: f.RefusedFrame) -> None:
        if frame.about == _JOIN:
            self._user.cut("join-refused")  # try again on another connection
        elif frame.subject is None:
            return
        elif frame.about == _SEND and (refused := self._answer(frame.subject.int)) is not None:
            room = refused.conversation
            self._population.ledger.refuse(self.number, room.number, refused.seq, frame.code.value)
            if frame.stale is not None:
                room.version = max(room.version, frame.stale.roster_version)
        elif frame.about == _CONFIRM and frame.code in _NOT_NOW and frame.subject.int in self._positions:
            self._confirm_later(self._positions[frame.subject.int])

    def _answer(self, client_id: int) -> Unanswered | None:
        """Return the message that was answered for; None when there is none, or it had been already."""
        answered = self.unanswered.pop(client_id, None)
        if answered is not None and not self.unanswered:
            self._user.answered()
        return answered

    def _on_changed(self, frame: f.Changed) -> None:
        room = None if frame.conversation is None else self._population.conversations.get(frame.conversation.int)
        if room is not None and frame.kind is not f.ChangeKind.KEYS_LOW:
            room.version = max(room.version, frame.value)

    _HANDLERS: ClassVar[dict[type[Any], Callable[..., None]]] = {
        Ending: lambda self, ending: self._user.ended(ending),
        f.Welcome: _on_welcome,
        f.Joined: _on_joined,
        f.New: _on_new,
        f.Gap: _on_gap,
        f.Ack: _on_ack,
        f.RefusedFrame: _on_refused,
        f.Changed: _on_changed,
        f.Goaway: lambda self, goaway: self._user.asked_to_go(goaway),
    }  # receipts, signs of life and what was left out concern nobody here
