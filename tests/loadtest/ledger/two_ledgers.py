"""Two workers' ledgers and one room of the crowd, between which a test carries the messages."""

from typing import Final

from loadtest.crowd.crowd import Room
from loadtest.ledger.ledger import Draft, Ledger, PayloadCipher
from loadtest.ledger.reports import Account, reconcile
from tests.ids import id_of
from tests.loadtest.ledger.manual_clock import ManualClock
from varde_contract.ids import ConversationId

KEY: Final = bytes(range(32))
RUN: Final = 7
SENDER: Final = 0
RECEIVER: Final = 1
ROOM: Final = 0


def a_room(*members: int) -> Room:
    """Return a conversation of these seats."""
    return Room(ConversationId(id_of(1)), members, 1, group=len(members) > 2)


class TwoLedgers:
    """The sender's ledger on one worker, the receiver's on another; the same clock for both."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.there, self.here = (Ledger(self.clock, PayloadCipher(KEY, RUN)) for _ in range(2))
        for ledger in (self.there, self.here):
            ledger.open_stage(0, 0)
        self.here.attend(RECEIVER)
        self.there.attend(SENDER)

    def write(self, count: int = 1) -> list[Draft]:
        """Return messages of the sender, each of which is acked."""
        drafts = [self.there.draw(SENDER, ROOM, self.clock.now_ns(), 64, 1) for _ in range(count)]
        for draft in drafts:
            self.there.ack(SENDER, ROOM, draft.seq)
        return drafts

    def deliver(self, draft: Draft) -> None:
        """Let one come."""
        self.here.receive(RECEIVER, ROOM, draft.payload)

    def reconcile(self) -> Account:
        """Return the account of both workers."""
        return reconcile([self.there.report(), self.here.report()], [a_room(SENDER, RECEIVER)])
