"""Everything on its way out: who waits for an ack, what the relay replied, and one sender for each conversation."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import trio
from msgspec import Struct

from varde.connection import Connection
from varde.errors import VardeError
from varde.event_stream import EventStream
from varde.events import Sent, Unsent, at
from varde.identity import Identity
from varde.sayings import Origin, SaidEvent, event_of, saying_of, text_of
from varde.store import Store
from varde.store.log import Taken
from varde.store.outbox import Draft, DraftKind
from varde.store.transcript import Life
from varde_contract.frames import Ack, RefusedFrame, Send
from varde_contract.ids import ClientId, ConversationId

T = TypeVar("T")


class Future(Generic[T]):
    """One value that somebody waits for and somebody else sets, once."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._value: list[T | Exception] = []

    def set(self, value: T | Exception) -> None:
        """Set the value, unless it is set already."""
        if not self._value:
            self._value.append(value)
            self._event.set()

    async def wait(self) -> T:
        """Return the value, or raise it if it is an exception. There is no deadline: the end of the client sets it."""
        await self._event.wait()
        (value,) = self._value
        if isinstance(value, Exception):
            raise value
        return value


class Outbox:
    """The outgoing side of a client, over the drafts in the store. A `ConversationSender` works through them."""

    def __init__(self, store: Store, identity: Identity, events: EventStream) -> None:
        self._store = store
        self._identity = identity
        self._events = events
        self._connection: Connection | None = None
        self._connection_changed = trio.Event()
        self._replies: dict[ClientId, Future[RefusedFrame | Ack | None]] = {}
        self._waiters: dict[ClientId, Future[Sent]] = {}
        self._end: VardeError | None = None
        self._work: dict[ConversationId, trio.Event] = {}
        self.start_sender: Callable[[ConversationId], None] = lambda _: None
        """Starts the sender of a conversation; set by whoever owns the nursery."""
        self.reconnect: Callable[[], None] = lambda: None
        """Has the next connection tried now; set by the same."""

    def set_connection(self, connection: Connection) -> None:
        """Send over this connection from now on."""
        self._connection = connection
        self._connection_changed.set()

    def drop_connection(self) -> None:
        """The connection is lost: whether the relay stored what was on its way is unknown, so senders try again."""
        # A further failed attempt to connect changes nothing for those who wait already.
        if self._connection is not None:
            self._connection, self._connection_changed = None, trio.Event()
        # None, not an error: the same bytes go again under the same client id, and the relay answers as the first time.
        for reply in self._replies.values():
            reply.set(None)
        self._replies.clear()

    def close(self, error: VardeError) -> None:
        """End every wait with this error. What is not acked stays in the store."""
        self._end = error
        self._connection_changed.set()
        for waiter in self._waiters.values():
            waiter.set(error)

    def resume(self) -> None:
        """Start the senders of what an earlier process left."""
        for conversation in self._store.outbox.conversations():
            self.wake_sender(conversation)

    def wake_sender(self, conversation: ConversationId) -> None:
        """There is something to send in a conversation: start its sender, or wake it."""
        if conversation in self._work:
            self._work[conversation].set()
        else:
            self._work[conversation] = trio.Event()
            self.start_sender(conversation)

    async def wait_work(self, conversation: ConversationId) -> None:
        """Return when there may be something to send. No deadline: nobody may ever write here again."""
        await self._work[conversation].wait()

    def clear_work(self, conversation: ConversationId) -> None:
        """The sender looks at the store now. Call this before it looks: what comes later must wake it again."""
        self._work[conversation] = trio.Event()

    async def send(self, draft: Draft) -> Sent:
        """Store a draft, and return when it is committed. Cancelled, it stops waiting; the message still goes."""
        if self._end is not None:
            raise self._end
        # Not durable: sealing it commits durably, and comes before anything is sent.
        with self._store.transaction(durable=False):
            self._store.outbox.add(draft)
        # Before the sender is woken: the ack may come before this task runs again.
        self._waiters[draft.client_id] = waiter = Future[Sent]()
        self.wake_sender(draft.conversation)
        try:
            return await waiter.wait()
        finally:
            del self._waiters[draft.client_id]

    @property
    def ended(self) -> bool:
        """Whether the client came to its end."""
        return self._end is not None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    async def wait_connected(self) -> Connection:
        """Return the connection as soon as there is one. Raises why there will be none. The caller sets a deadline."""
        while self._connection is None:
            if self._end is not None:
                raise self._end
            await self._connection_changed.wait()
        return self._connection

    def send_nowait(self, frame: Struct) -> None:
        """Queue a frame that needs no reply. Without a connection it is dropped."""
        if self._connection is not None:
            self._connection.send(frame)

    async def request(self, frame: Send) -> Ack | RefusedFrame | None:
        """Send over the relay as soon as it is connected, and return its reply; None when the connection was lost."""
        connection = await self.wait_connected()
        # There is no checkpoint since the connection was looked at: `drop_connection` finds this reply, or was there
        # before.
        self._replies[frame.client_id] = reply = Future[RefusedFrame | Ack | None]()
        connection.send(frame)
        return await reply.wait()

    def acked(self, ack: Ack) -> Callable[[], None]:
        """Move a draft to the log, within a transaction; return what to do after its commit.

        An ack of what is not in the outbox is ignored: it was acked before, or the relay made it up.
        """
        draft = self._store.outbox.find(ack.client_id)
        if draft is None or draft.conversation != ack.conversation:
            return lambda: None
        if draft.kind is DraftKind.TEXT:
            self._store.log.add(self._own(draft, ack), Taken.NEVER)
        # The place in the transcript is taken by the ack, so that a refused message leaves no hole for readers.
        sealed = self._store.outbox.encrypted(ack.client_id)
        if sealed is not None:
            life = Life(ack.conversation, self._identity.device, sealed.incarnation)
            self._store.transcript.add(life, sealed.counter, sealed.digest, ack.seq, part=sealed.part)
        self._store.outbox.remove(ack.client_id)
        self._store.own_numbers.acked(ack.conversation, ack.seq)
        self.settle_own_numbers(ack.conversation)
        return lambda: self._report_ack(ack)

    def send_again(self, lost: Sequence[SaidEvent]) -> None:
        """Put sayings that were acked, and that the server has lost, back under their client ids. In a transaction."""
        for each in lost:
            # One that is there waits for its ack anyhow. The client id is the old one, so who has it shows it once.
            if self._store.outbox.find(each.client_id) is None:
                written_ms = round(each.written.timestamp() * 1_000)
                about = each.conversation, each.client_id, DraftKind.TEXT, each.profile, written_ms
                draft = Draft(*about, saying_of(each))
                self._store.outbox.add(draft)

    def settle_own_numbers(self, conversation: ConversationId) -> None:
        """Once neither an ack nor the answer to a statement is due, store as gaps the own numbers that none named.

        Within a transaction.
        """
        if self._store.outbox.has_drafts(conversation) or self._store.chains.is_pending(conversation):
            return
        for gap in self._store.own_numbers.unexplained(conversation):
            self._store.log.add(gap)
            self._events.notify()

    def refused(self, refused: RefusedFrame) -> None:
        """Give a refusal to the sender that waits for it."""
        if refused.subject is not None:
            reply = self._replies.pop(ClientId(refused.subject), None)
            if reply is not None:
                reply.set(refused)

    def give_up(self, draft: Draft, error: VardeError) -> None:
        """A draft is refused for good: raise it in `send`, or store it as unsent when nobody waits any more."""
        waiter = self._waiters.get(draft.client_id)
        with self._store.transaction():
            # An ack of it may have been lost: then its number is a gap here, and never hides another message.
            self._store.outbox.remove(draft.client_id)
            self.settle_own_numbers(draft.conversation)
            if waiter is None and draft.kind is DraftKind.TEXT:
                self._store.log.add(Unsent(draft.conversation, draft.client_id, text_of(draft.said), error.code))
        if waiter is not None:
            waiter.set(error)
        self._events.notify()

    def _report_ack(self, ack: Ack) -> None:
        reply = self._replies.pop(ack.client_id, None)
        if reply is not None:
            reply.set(ack)
        waiter = self._waiters.get(ack.client_id)
        if waiter is not None:
            waiter.set(Sent(ack.client_id, ack.message, ack.seq, at(ack.time)))

    def _own(self, draft: Draft, ack: Ack) -> SaidEvent:
        return event_of(
            draft.said,
            Origin(
                conversation=draft.conversation,
                seq=ack.seq,
                client_id=draft.client_id,
                profile=draft.profile,
                device=self._identity.device,
                account=self._identity.account,
                written=at(draft.written_ms),
                received=at(ack.time),
                mine=True,
            ),
        )
