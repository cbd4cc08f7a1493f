"""An authenticated device at the other end of a connection, as the rest of the node sees it."""

from collections.abc import Callable

from msgspec import Struct

from domain.people.tickets import Ticket
from domain.talk.sending import Sender
from relay.cache.log_reader import LogReader
from relay.connection.outbox import Outbox
from relay.delivery.hub import Hub, Listener
from relay.delivery.mailbox import Mailbox, Start
from varde_contract.closing import CloseCode
from varde_contract.frames import Changed, ChangeKind, Goaway
from varde_contract.ids import AccountId, ConversationId, ProfileId
from varde_contract.talk import PresenceState


class Line(Struct, frozen=True):
    """What a connection lends to its peer; all plain functions. `start` starts a task that ends with it."""

    cut: Callable[[CloseCode], None]
    ping: Callable[[], None]
    start: Start


class Peer:
    """Who it is, what it listens to, and the ways to tell it something."""

    __slots__ = (
        "_goaway",
        "device",
        "heard_at",
        "line",
        "listeners",
        "mailbox",
        "outbox",
        "ping_at",
        "sender",
        "shown",
        "ticket",
        "wants_all",
    )

    def __init__(self, ticket: Ticket, outbox: Outbox, line: Line, *, hub: Hub, reading: LogReader, now: float) -> None:
        """`now` is Trio's time."""
        self.ticket = ticket
        self.device = ticket.device
        self.sender = Sender(ticket.account, ticket.device)
        """Who sends when this peer does."""
        self.outbox = outbox
        self.line = line
        self.mailbox = Mailbox(self, hub, reading, line.start)
        self.heard_at = now
        self.ping_at = 0.0
        """When the pulse pings it next; 0 as long as it has not planned that."""
        self.listeners: dict[ConversationId, Listener] = {}
        self.wants_all = False
        """Whether it joined all: then also what it becomes a member of later."""
        self.shown: dict[ProfileId, PresenceState] = {}
        """The profiles it shows as being there, and how."""
        self._goaway = False

    @property
    def account(self) -> AccountId:
        """Whose device it is."""
        return self.ticket.account

    def cut(self, code: CloseCode) -> None:
        """End the connection; what waits in the outbox is dropped."""
        self.line.cut(code)

    def tell(self, frame: Struct) -> None:
        """Queue a frame."""
        self.outbox.push_frame(frame)

    def tell_changed(self, kind: ChangeKind, conversation: ConversationId | None, value: int) -> None:
        """Queue `changed`."""
        self.tell(Changed(kind, conversation, value))

    def tell_goaway(self, goaway: Goaway) -> None:
        """Queue `goaway`, once."""
        if not self._goaway:
            self._goaway = True
            self.tell(goaway)
