"""Everything on its way out: one lane for each conversation, the relay's answers, and who waits for them."""

from collections.abc import Callable

import trio
from msgspec import Struct

from varde.answer import Answer
from varde.errors import VardeError
from varde.happenings import Message, Sent, Unsent, at
from varde.line import Line
from varde.me import Me
from varde.store import Store
from varde.store.log import Taken
from varde.store.outbox import Draft, DraftKind
from varde.stream import Stream
from varde_contract.frames import Ack, RefusedFrame, Send
from varde_contract.ids import ClientId, ConversationId


class Post:
    """The outgoing side of a client."""

    def __init__(self, store: Store, me: Me, stream: Stream) -> None:
        self._store = store
        self._me = me
        self._stream = stream
        self._line: Line | None = None
        self._line_up = trio.Event()
        self._asked: dict[ClientId, Answer[RefusedFrame | Ack | None]] = {}
        self._senders: dict[ClientId, Answer[Sent]] = {}
        self._end: VardeError | None = None
        self._work: dict[ConversationId, trio.Event] = {}
        self.open_lane: Callable[[ConversationId], None] = lambda _: None
        """Starts the lane of a conversation; set by the client that owns the nursery."""

    def begin(self, line: Line) -> None:
        """There is a connection."""
        self._line = line
        self._line_up.set()

    def end(self) -> None:
        """The connection is gone: nobody knows what became of what was on its way."""
        if self._line is not None:  # a further failed try to connect must not leave those behind who wait already
            self._line, self._line_up = None, trio.Event()
        for answer in self._asked.values():
            answer.set(None)
        self._asked.clear()

    def close(self, error: VardeError) -> None:
        """The client came to its end: what is not acked stays in the store."""
        self._end = error
        self._line_up.set()
        for sender in self._senders.values():
            sender.set(error)

    def resume(self) -> None:
        """Go on with what an earlier process left."""
        for conversation in self._store.outbox.conversations():
            self.stir(conversation)

    def stir(self, conversation: ConversationId) -> None:
        """There is something to do in a conversation."""
        if conversation in self._work:
            self._work[conversation].set()
        else:
            self._work[conversation] = trio.Event()
            self.open_lane(conversation)

    async def wait_work(self, conversation: ConversationId) -> None:
        """Return when something may be to do. Without a deadline: nobody may ever write here again."""
        await self._work[conversation].wait()

    def seen_work(self, conversation: ConversationId) -> None:
        """The lane looks now: what comes from here on is new."""
        self._work[conversation] = trio.Event()

    async def send(self, draft: Draft) -> Sent:
        """Keep a draft, and return when it is committed. Cancelled, it stops waiting; the message still goes."""
        if self._end is not None:
            raise self._end
        with self._store.transaction(durable=False):  # sealing it is durable, and comes before anything is sent
            self._store.outbox.add(draft)
        self._senders[draft.client_id] = sender = Answer[Sent]()
        self.stir(draft.conversation)
        try:
            return await sender.wait()
        finally:
            del self._senders[draft.client_id]

    @property
    def ended(self) -> bool:
        """Whether the client came to its end."""
        return self._end is not None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._line is not None

    async def wait_connected(self) -> Line:
        """Return the connection as soon as there is one. Raises why there will be none."""
        while self._line is None:
            if self._end is not None:
                raise self._end
            await self._line_up.wait()  # without a deadline: the caller's, or as long as the client lives
        return self._line

    def tell(self, frame: Struct) -> None:
        """Say something that needs no answer, if there is a connection."""
        if self._line is not None:
            self._line.send(frame)

    async def ask(self, frame: Send) -> Ack | RefusedFrame | None:
        """Send over the relay as soon as there is one, and return its answer; None when the connection was lost."""
        line = await self.wait_connected()
        self._asked[frame.client_id] = answer = Answer[RefusedFrame | Ack | None]()
        line.send(frame)
        return await answer.wait()

    def acked(self, ack: Ack) -> Callable[[], None]:
        """Take in an ack, within a transaction; return what to do after its commit.

        An ack of what is not in the outbox is nobody's: it was acked before, or the relay made it up.
        """
        draft = self._store.outbox.find(ack.client_id)
        if draft is None or draft.conversation != ack.conversation:
            return lambda: None
        if draft.kind is DraftKind.TEXT:
            self._store.log.add(self._own_message(draft, ack), Taken.NEVER)
        self._store.outbox.remove(ack.client_id)
        self._store.own_numbers.acked(ack.conversation, ack.seq)
        self.explain(ack.conversation)
        return lambda: self._tell_acked(ack)

    def explain(self, conversation: ConversationId) -> None:
        """Keep as gaps what the relay called own and no ack did, within a transaction, once no ack is due."""
        if self._store.outbox.waits(conversation):
            return
        for gap in self._store.own_numbers.unexplained(conversation):
            self._store.log.add(gap)
            self._stream.stir()

    def refused(self, refused: RefusedFrame) -> None:
        """Give a refusal to the lane that waits for it."""
        if refused.subject is not None:
            answer = self._asked.pop(ClientId(refused.subject), None)
            if answer is not None:
                answer.set(refused)

    def give_up(self, draft: Draft, error: VardeError) -> None:
        """A draft is refused for good: tell its sender, or keep it as unsent when nobody waits any more."""
        sender = self._senders.get(draft.client_id)
        with self._store.transaction():
            self._store.outbox.remove(draft.client_id)
            self.explain(draft.conversation)
            if sender is None and draft.kind is DraftKind.TEXT:
                self._store.log.add(Unsent(draft.conversation, draft.client_id, draft.text, error.code))
        if sender is not None:
            sender.set(error)
        self._stream.stir()

    def _tell_acked(self, ack: Ack) -> None:
        answer = self._asked.pop(ack.client_id, None)
        if answer is not None:
            answer.set(ack)
        sender = self._senders.get(ack.client_id)
        if sender is not None:
            sender.set(Sent(ack.client_id, ack.message, ack.seq, at(ack.time)))

    def _own_message(self, draft: Draft, ack: Ack) -> Message:
        return Message(
            conversation=draft.conversation,
            seq=ack.seq,
            client_id=draft.client_id,
            profile=draft.profile,
            device=self._me.device,
            account=self._me.account,
            text=draft.text,
            written=at(draft.written_ms),
            received=at(ack.time),
            mine=True,
        )
