"""One device as it speaks `varde.v1`: what it has joined, had, confirmed, and sent without an answer so far."""

from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple, Protocol

from msgspec import Struct

from loadtest.client.epoll import Connection
from loadtest.client.protocol import Ending, Phase, RelayClient
from loadtest.crowd.crowd import Seat
from loadtest.users.conversation import Conversation, Position
from loadtest.users.population import Population
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.noise import KeyPair
from varde_contract.refusals import RefusalCode
from varde_contract.session import PROTOCOL_VERSION

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


class Owner(Protocol):
    """Whose device it is: told of what concerns its connection. Nobody may wait in these."""

    def welcomed(self, welcome: f.Welcome) -> None:
        """The relay knows the device."""

    def listening(self) -> None:
        """Every conversation is joined."""

    def ended(self, ending: Ending) -> None:
        """The connection has ended."""

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
        *("_client", "_connection", "_owing", "_owner", "_population", "_positions", "_seat"),
        *("deaf", "joined", "number", "unanswered"),
    )

    def __init__(self, population: Population, number: int, owner: Owner) -> None:
        self._population, self._owner = population, owner
        self.number = number
        self._seat: Seat = population.seat(number)
        self._positions: dict[int, Position] = {}
        self._client: RelayClient | None = None
        self._connection: Connection | None = None
        self._owing = False
        self.deaf = False  # whether nothing but the end of the connection is listened to
        self.joined = 0  # conversations that this connection listens to
        self.unanswered: dict[int, Unanswered] = {}  # by client id

    def connect(self, *, slow: bool) -> Connection:
        """Begin a connection; what goes wrong is told to the owner, perhaps before this returns."""
        population, target = self._population, self._population.target
        hello = f.Hello(PROTOCOL_VERSION, population.tickets.of(self.number), self._seat.device)
        static = KeyPair.from_private(self._seat.noise_private)
        self._client = RelayClient(target.authority, target.path, hello, static, population.relay_key)
        self._connection = connection = Connection(population.engine, self)
        connection.connect(
            target.address,
            family=target.family,
            source=population.source_of(self.number),
            tls=population.tls,
            host=target.host,
            slow=slow,
        )
        return connection

    def disconnect(self) -> None:
        """Close the socket, without a word to the relay or the owner."""
        if self._connection is not None:
            self._connection.close()
        self._client = self._connection = None
        self._owing = False
        self.deaf = False
        self.joined = 0

    def close(self) -> bool:
        """Send a close frame, after which the relay may still speak. False: there is no WebSocket to close."""
        if self._client is None or self._connection is None:
            return False
        if octets := self._client.close():
            self._connection.send(octets)
        return self._client.phase is Phase.CLOSING

    # What its connection calls

    def open(self) -> bytes:
        """Return the upgrade request."""
        return b"" if self._client is None else self._client.open()

    def receive(self, received: bytes) -> bytes:
        """Take what the relay said."""
        client, connection = self._client, self._connection
        if client is None or connection is None:
            return b""
        events = client.receive(received)
        reply = client.take_reply()
        # Who does not read answers need not be answered.
        if reply and connection.unsent < _UNREAD_BYTES:
            connection.send(reply)
        for event in events:
            if self._client is not client:
                break  # the event before ended the connection
            if not self.deaf or type(event) is Ending:
                self._HANDLERS[type(event)](self, event)
        return b""

    def lost(self, reason: str) -> None:
        """The connection broke."""
        self._owner.ended(Ending(reason))

    @property
    def can_send(self) -> bool:
        """Whether there is a conversation to write to."""
        return any(position.conversation.complete for position in self._positions.values())

    def send(self, intended_ns: int) -> bool:
        """Send a message that was due at that time of the run. False: not now, and nothing was recorded."""
        client, connection = self._client, self._connection
        room = self._choose_conversation()
        if room is None or client is None or connection is None or len(self.unanswered) >= UNANSWERED:
            return False
        population = self._population
        size = min(population.draw_size(), room.most)
        draft = population.ledger.draw(self.number, room.number, intended_ns, size, room.due)
        client_id = population.draw_client_id()
        encoded = codec.encode_frame(room.frame(client_id, self._seat.profile, self.number, draft.payload))
        self.unanswered[client_id.int] = Unanswered(room, draft.seq, encoded)
        connection.send(client.send_encoded(f.Send, encoded))
        return True

    def confirm(self) -> None:
        """Tell the relay what is held, as far as it does not know."""
        owing = [position for position in self._positions.values() if position.owing] if self._owing else []
        self._owing = False
        for position in owing:
            self._confirm(position)

    def _confirm(self, position: Position) -> None:
        position.owing, position.unconfirmed = False, 0
        if self._client is not None and self._connection is not None and self._client.live:
            confirmed = codec.encode_frame(f.Delivered(position.conversation.id, position.seen))
            self._connection.send(self._client.send_encoded(f.Delivered, confirmed))

    def _choose_conversation(self) -> Conversation | None:
        positions = self._positions
        if len(positions) == 1:
            (position,) = positions.values()
            return position.conversation if position.conversation.complete else None
        rooms = [position.conversation for position in positions.values() if position.conversation.complete]
        return self._population.dice.choice(rooms) if rooms else None

    # Frames of the relay

    def _on_welcome(self, frame: f.Welcome) -> None:
        assert self._client is not None
        assert self._connection is not None
        self._owner.welcomed(frame)
        if self._client.live:  # else it is leaving already
            self._connection.send(self._client.send(f.Join()))

    def _on_joined(self, frame: f.Joined) -> None:
        room = self._population.conversation_of(frame.conversation)
        if room is None:
            return  # a conversation of this device that the run does not know of
        position = self._positions.get(frame.conversation.int)
        if position is None:
            position = self._positions[frame.conversation.int] = Position(room)
        position.join(frame)
        if position.told < position.seen:
            self._owe(position)
        self.joined += 1
        if self.joined == len(self._seat.rooms):
            self._settle_in()

    def _settle_in(self) -> None:
        """Say again what nobody answered for, in order; then be there for more."""
        assert self._client is not None
        assert self._connection is not None
        for each in self.unanswered.values():
            self._population.ledger.resend(self.number, each.conversation.number, each.seq)
            self._connection.send(self._client.send_encoded(f.Send, each.frame))
        self._owner.listening()
        for position in self._positions.values():
            position.conversation.enter(self.number, self._owner.try_ready)

    def _on_new(self, frame: f.New) -> None:
        position = self._positions.get(frame.conversation.int)
        if position is None or not position.take(frame.seq):
            return
        self._population.ledger.receive(self.number, position.conversation.number, frame.ciphertext)
        position.unconfirmed += 1
        if position.unconfirmed >= UNCONFIRMED:
            self._confirm(position)
        elif not position.owing:
            self._owe(position)

    def _on_gap(self, frame: f.Gap) -> None:
        position = self._positions.get(frame.conversation.int)
        if position is None:
            return
        new = position.skip(frame.from_seq, frame.to_seq)
        if new and frame.why is not f.GapReason.OWN:
            self._population.ledger.gap(self.number, position.conversation.number, new, frame.why.value)

    def _on_ack(self, frame: f.Ack) -> None:
        answered = self.unanswered.pop(frame.client_id.int, None)
        if answered is not None:
            self._population.ledger.ack(self.number, answered.conversation.number, answered.seq)
            if not self.unanswered:
                self._owner.answered()

    def _on_refused(self, frame: f.RefusedFrame) -> None:
        if frame.about == _SEND and frame.subject is not None:
            self._send_refused(frame, self.unanswered.pop(frame.subject.int, None))
        elif frame.about == _JOIN:
            self._owner.turned_away()
        elif frame.about == _CONFIRM and frame.subject is not None and frame.code in _NOT_NOW:
            position = self._positions.get(frame.subject.int)
            if position is not None:
                self._owe(position)

    def _send_refused(self, frame: f.RefusedFrame, refused: Unanswered | None) -> None:
        if refused is None:
            return
        self._population.ledger.refuse(self.number, refused.conversation.number, refused.seq, frame.code.value)
        if frame.stale is not None:
            refused.conversation.version = max(refused.conversation.version, frame.stale.roster_version)
        if not self.unanswered:
            self._owner.answered()

    def _on_changed(self, frame: f.Changed) -> None:
        room = None if frame.conversation is None else self._population.conversation_of(frame.conversation)
        if room is not None and frame.kind is not f.ChangeKind.KEYS_LOW:
            room.version = max(room.version, frame.value)

    def _on_ending(self, ending: Ending) -> None:
        self._owner.ended(ending)

    def _on_goaway(self, frame: f.Goaway) -> None:
        self._owner.asked_to_go(frame)

    def _pass(self, frame: Struct) -> None:
        """Receipts, signs of life and what was left out concern nobody here."""

    def _owe(self, position: Position) -> None:
        position.owing = True
        if not self._owing:
            self._owing = True
            self._population.confirm_later(self)

    _HANDLERS: ClassVar[dict[type[Struct] | type[Ending], Callable[..., None]]] = {
        Ending: _on_ending,
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
