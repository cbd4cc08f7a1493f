"""One device as it speaks `varde.v2`: its connections, what it has had and confirmed, and sent without an answer."""

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple

import gevent

from loadtest.client.epoll import READ, Connection
from loadtest.client.protocol import Ending, Phase, RelayClient
from loadtest.crowd.crowd import Seat
from loadtest.ledger.run_time import SECOND_NS
from loadtest.users.population import Conversation, Population, Position
from varde_contract import codec
from varde_contract import frames as f
from varde_contract.noise import KeyPair
from varde_contract.refusals import RefusalCode
from varde_contract.session import PROTOCOL_VERSION

NEVER: Final = float("inf")
UNANSWERED: Final = 1_024  # sends of one device; beyond, it takes no more until some are answered
_UNREAD_BYTES: Final = 65_536  # unsent beyond this, the relay does not read, and its pings are not answered
UNCONFIRMED: Final = 32  # messages of one conversation that are confirmed at once instead of after a second
_MS: Final = 1_000
_MOST_PAUSE_MS: Final = 600_000  # however long a relay asks for
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
    """The protocol's side of a user. `number` is its seat. What a connection left behind stands until the next one."""

    __slots__ = (
        *("_again", "_began", "_client", "_confirms_later", "_doubtful", "_population", "_positions", "_seat"),
        *("_sends", "_tries_later", "_wake"),
        *("connection", "deaf", "ending", "goaway_at", "joined", "leaving", "listens", "number", "place"),
        *("unanswered", "welcomed"),
    )

    _client: RelayClient  # of the last connection

    def __init__(self, population: Population, number: int, wake: Callable[[], None], *, sends: bool) -> None:
        """`wake` is called when there may be what its user waits for: an end, or everything joined or answered."""
        self._population, self._wake, self._sends = population, wake, sends
        self.number = number
        self.place = -1  # among those who are ready to send; theirs to write
        self._seat: Seat = population.seats[number]
        self._positions: dict[int, Position] = {}
        self._again = False  # whether it was connected before
        self.unanswered: dict[int, Unanswered] = {}  # by client id
        self._doubtful = set[int]()  # of those, the ones that may have been stored
        self._tries_later = False
        self.connection: Connection | None = None
        self._begin()

    def _begin(self) -> None:
        self._began = time.monotonic()
        self.ending: Ending | None = None
        self.goaway_at = NEVER  # when the node has asked it to leave
        self.joined = 0  # conversations that this connection listens to
        self.welcomed = self.listens = False  # `listens`: to all of them
        self.leaving = False  # whether it goes of its own will
        self.deaf = False  # whether nothing but the end of the connection is listened to
        self._confirms_later = False

    def connect(self, *, slow: bool) -> None:
        """Begin a connection, which may have ended before this returns."""
        population, target = self._population, self._population.target
        self._begin()
        hello = f.Hello(PROTOCOL_VERSION, self._seat.ticket, self._seat.device)
        static = KeyPair.from_private(self._seat.noise_private)
        self._client = RelayClient(target.authority, target.path, hello, static, population.relay_key)
        self.connection = Connection(population.engine, self)
        population.present.add(self)
        where: dict[str, Any] = {"family": target.family, "tls": population.tls, "host": target.host}
        self.connection.connect(target.address, source=population.source_of(self.number), slow=slow, **where)

    def end(self, ending: Ending) -> None:
        """Close the socket without a word to the relay, and count how it ended: once for each connection."""
        if self.connection is None:
            return
        self.connection.close()
        self.connection, self.ending = None, ending
        population = self._population
        population.present.discard(self)
        population.ready.remove(self)
        if self.welcomed:
            population.connected -= 1
            population.ledger.closed(ending.code)
        elif not self.leaving:
            population.ledger.connect_failed(ending.code)
        self._wake()

    def withdraw(self) -> None:
        """Send nothing new from now on: it is about to leave."""
        self.leaving = True
        self._population.ready.remove(self)

    def close(self) -> None:
        """Confirm what is held, and send a close frame, after which the relay may still speak; or end at once."""
        self.confirm()
        if self.listens and self.connection is not None:
            self.connection.watch(READ)
        self._send(self._client.close())
        if self._client.phase is not Phase.CLOSING:  # there is no WebSocket yet
            self.end(Ending("left"))

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
        self.end(Ending(reason))

    def _send(self, octets: bytes) -> None:
        if octets and self.connection is not None:
            self.connection.send(octets)

    @property
    def _writable(self) -> list[Conversation]:
        return [each.conversation for each in self._positions.values() if each.conversation.complete]

    def send(self, intended_ns: int) -> bool:
        """Send a message that was due at that time of the run. False: not now, and nothing was recorded."""
        rooms, population = self._writable, self._population
        if self.place < 0 or not rooms or self.connection is None or len(self.unanswered) >= UNANSWERED:
            return False
        room = rooms[0] if len(rooms) == 1 else population.dice.choice(rooms)
        size = min(population.draw_size(), room.most)
        draft = population.ledger.draw(self.number, room.number, intended_ns, size, room.due)
        client_id = population.draw_client_id()
        # Kept as bytes: sent again after a lost connection, it has to be the same message under the same client id.
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
            self._population.confirm_later(self)

    # Frames of the relay

    def _on_welcome(self, frame: f.Welcome) -> None:
        population = self._population
        self.welcomed = True
        population.connected += 1
        population.heartbeat_seconds = max(1.0, frame.heartbeat_ms / _MS)
        population.ledger.connected(round((time.monotonic() - self._began) * SECOND_NS), self._again)
        self._again = True
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
        self._send_again()
        self.listens = True
        self._wake()
        for position in self._positions.values():
            position.conversation.enter(self.number, self._try_ready)

    def _send_again(self) -> None:
        self._doubtful.update(self.unanswered)
        for each in self.unanswered.values():
            self._population.ledger.resend(self.number, each.conversation.number, each.seq)
            self._send(self._client.send_encoded(f.Send, each.frame))

    def _try_again_later(self, pause_ms: float) -> None:
        """Say again in a while what was not answered for, and nothing new before that: messages keep their order."""
        self._population.ready.remove(self)
        if not self._tries_later:
            self._tries_later = True
            gevent.spawn_later(pause_ms / _MS, self._try_again)

    def _try_again(self) -> None:
        self._tries_later = False
        if self.connection is not None and self.listens and self._client.live:  # otherwise the next connection does it
            self._send_again()
            if not self.unanswered:
                self._try_ready()

    def _try_ready(self) -> None:
        """Be asked to send from now on, if there is a conversation to write to."""
        here = self.connection is not None and self.listens and not self.leaving
        if self._sends and here and not self._tries_later and self._writable:
            self._population.ready.add(self)

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
            self.end(Ending("join-refused"))  # try again on another connection
        elif frame.subject is None:
            return
        elif frame.about == _SEND and self._may_be_stored(frame):
            self._try_again_later(min(frame.retry_after_ms or _MS, _MOST_PAUSE_MS))
        elif frame.about == _SEND and (refused := self._answer(frame.subject.int)) is not None:
            room = refused.conversation
            self._population.ledger.refuse(self.number, room.number, refused.seq, frame.code.value)
            if frame.stale is not None:
                room.version = max(room.version, frame.stale.roster_version)
        elif frame.about == _CONFIRM and frame.code in _NOT_NOW and frame.subject.int in self._positions:
            self._confirm_later(self._positions[frame.subject.int])

    def _may_be_stored(self, frame: f.RefusedFrame) -> bool:
        """Whether a message was refused for now, and may have been stored: only saying it again tells.

        `unavailable` is said of a commit whose end nobody knows. Others are no answer to whether an earlier
        connection had its message stored.
        """
        assert frame.subject is not None
        known = frame.subject.int in self.unanswered and frame.code in _NOT_NOW
        return known and (frame.code is RefusalCode.UNAVAILABLE or frame.subject.int in self._doubtful)

    def _answer(self, client_id: int) -> Unanswered | None:
        """Return the message that was answered for; None when there is none, or it had been already."""
        answered = self.unanswered.pop(client_id, None)
        self._doubtful.discard(client_id)
        if answered is not None and not self.unanswered:
            if self.leaving:
                self._wake()
            elif self.place < 0:
                self._try_ready()
        return answered

    def _on_changed(self, frame: f.Changed) -> None:
        room = None if frame.conversation is None else self._population.conversations.get(frame.conversation.int)
        if room is not None and frame.kind is not f.ChangeKind.KEYS_LOW:
            room.version = max(room.version, frame.value)

    def _on_goaway(self, frame: f.Goaway) -> None:
        """Leave within the time that the node spreads its peers over."""
        pause_ms = frame.after_ms + self._population.dice.uniform(0, frame.jitter_ms)
        self.goaway_at = time.monotonic() + max(0.0, min(pause_ms, _MOST_PAUSE_MS)) / _MS
        self._wake()

    _HANDLERS: ClassVar[dict[type[Any], Callable[..., None]]] = {
        Ending: end,
        f.Welcome: _on_welcome,
        f.Joined: _on_joined,
        f.New: _on_new,
        f.Gap: _on_gap,
        f.Ack: _on_ack,
        f.RefusedFrame: _on_refused,
        f.Changed: _on_changed,
        f.Goaway: _on_goaway,
    }  # receipts, signs of life and what was left out concern nobody here
