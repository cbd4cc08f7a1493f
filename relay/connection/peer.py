"""An authenticated device as the rest of the node sees it, and its place in each conversation it listens to."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from msgspec import Struct

from domain.people.tickets import Ticket
from domain.talk.model import Roster
from domain.talk.sending import Sender
from relay.connection.outbox import Outbox
from varde_contract.close_codes import CloseCode
from varde_contract.frames import Changed, ChangeKind, Goaway, Sync
from varde_contract.ids import ConversationId, ProfileId
from varde_contract.talk import PresenceState


class Connection(Protocol):
    """What a peer asks of its connection. None of these is a checkpoint, and none raises."""

    def cut(self, code: CloseCode) -> None:
        """End the connection with a close code; what waits in the outbox is dropped."""

    def ping(self) -> None:
        """Send a ping."""

    def start_soon(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that ends with the connection."""


class MailboxPort(Protocol):
    """How a peer reads the log; `relay.delivery.mailbox.Mailbox` is the one that does it."""

    @property
    def idle(self) -> bool:
        """Whether nothing is being read."""

    @property
    def answering(self) -> int:
        """How many `sync` are being answered."""

    def listen(self, conversation: ConversationId, cursor: int, head: int) -> None:
        """Listen to a conversation from behind `cursor`, or move there."""

    def answer(self, frame: Sync) -> None:
        """Answer a `sync`."""


class Peer:
    """Who it is, what it listens to, and the ways to send it something."""

    __slots__ = (
        "_goaway_sent",
        "connection",
        "device",
        "heard_at",
        "listeners",
        "mailbox",
        "number",
        "outbox",
        "ping_at",
        "sender",
        "shown",
        "ticket",
        "wants_all",
    )

    def __init__(
        self,
        ticket: Ticket,
        outbox: Outbox,
        connection: Connection,
        open_mailbox: Callable[["Peer"], MailboxPort],
        *,
        now: float,
        number: int,
    ) -> None:
        """`now` is Trio's time, `number` is from `DeviceConnections.draw_number`."""
        self.ticket = ticket
        self.device = ticket.device
        self.sender = Sender(ticket.account, ticket.device)
        """The sender of what this peer sends."""
        self.outbox = outbox
        self.connection = connection
        self.mailbox = open_mailbox(self)
        self.number = number
        """Of this connection among all that the device had, on any node."""
        self.heard_at = now
        self.ping_at = 0.0
        """When the heartbeat pings it next; 0 until that is planned."""
        self.listeners: dict[ConversationId, Listener] = {}
        self.wants_all = False
        """Whether it joined all conversations: then it also joins those it becomes a member of later."""
        self.shown: dict[ProfileId, PresenceState] = {}
        """The profiles it shows as present, and how."""
        self._goaway_sent = False

    def send(self, frame: Struct) -> None:
        """Encode and send or queue a frame."""
        self.outbox.push_frame(frame)

    def send_changed(self, kind: ChangeKind, conversation: ConversationId | None, value: int) -> None:
        """Send or queue `changed`."""
        self.send(Changed(kind, conversation, value))

    def send_goaway(self, goaway: Goaway) -> None:
        """Send or queue `goaway`, once."""
        if not self._goaway_sent:
            self._goaway_sent = True
            self.send(goaway)


class Listener:
    """One device listening to one conversation.

    `cursor` is the last number it was sent, `head` the highest this node knows of. While `live` they are the same, and
    what is published goes straight to the outbox. Otherwise the listener is behind, and the mailbox reads the log until
    they are the same again.
    """

    __slots__ = ("_fall_behind", "conversation", "cursor", "head", "live", "outbox", "peer", "roster")

    def __init__(self, peer: Peer, conversation: ConversationId, fall_behind: Callable[["Listener"], None]) -> None:
        """`fall_behind` is called whenever the log has to be read for this listener."""
        self.peer = peer
        self.outbox = peer.outbox
        self.conversation = conversation
        self.cursor = 0
        self.head = 0
        self.live = False
        self.roster: Roster | None = None
        """The last roster that was seen to have the device in it."""
        self._fall_behind = fall_behind

    def start(self, cursor: int, head: int) -> None:
        """Begin at a number; `head` is the last that is known of. Behind until the log has been read from there."""
        self.cursor = cursor
        self.fall_behind(head)

    def deliver(self, seq: int, kind: type[Struct], encoded: bytes) -> None:
        """Take a published number: sent at once if it is the next one, otherwise left for the mailbox to read."""
        if self.live and seq == self.cursor + 1:
            self.cursor = self.head = seq
            self.outbox.push(kind, encoded)
        # Not above the cursor: the mailbox has read it in the log meanwhile, and sent it.
        elif seq > self.cursor:
            self.fall_behind(seq)

    def is_in(self, roster: Roster) -> bool:
        """Whether the device is in a roster. Remembered, since each message in a conversation asks about the same."""
        if self.peer.device not in roster.devices:
            return False
        self.roster = roster
        return True

    def fall_behind(self, head: int) -> None:
        """Have the log read, at least up to `head`."""
        self.head = max(self.head, head)
        self.live = False
        self._fall_behind(self)

    def catch_up(self, head: int) -> bool:
        """Go live if everything up to `head`, the highest number there is, was sent. Whether it did."""
        self.head = head
        self.live = self.cursor >= self.head
        return self.live
