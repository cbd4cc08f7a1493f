"""The methods of the JSON-RPC interface that a chat calls, answered from memory: no client, no store, no server."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from tests.ids import id_of
from varde.events import Connected, Event
from varde_cli.chat.remote import Changed, Chat, Member, Message, Reactions, Ref
from varde_cli.run import Failure
from varde_contract.ids import ClientId, ConversationId, DeviceId, ProfileId, decode_text_id
from varde_contract.talk import ConversationKind

ME, BOB, CAROL = (ProfileId(id_of(number)) for number in (1, 2, 3))
WITH_BOB, GROUP = ConversationId(id_of(10)), ConversationId(id_of(11))
BEGAN = datetime(2026, 11, 30, 12, tzinfo=UTC)


class MemoryRpc:
    """A home with a conversation with Bob and a group with Bob and Carol.

    While `held` is clear nothing that is sent is acked.
    """

    def __init__(self, began: datetime = BEGAN) -> None:
        self._began = began
        self.messages: dict[UUID, list[Message]] = {WITH_BOB: [], GROUP: []}
        self.calls: Counter[str] = Counter()
        self.read: dict[UUID, int] = {}
        self.typed: list[bool] = []
        self.held = asyncio.Event()
        self.held.set()
        self.refuse: str | None = None
        self.unaccepted = False
        self.listing = asyncio.Event()
        self.listed = asyncio.Event()
        self.listed.set()
        self.opened = asyncio.Event()
        self.opened.set()
        self._events: asyncio.Queue[Event | Message | Changed | Exception] = asyncio.Queue()
        self.push(Connected(reconnected=False))

    # What the others do.

    def written(
        self,
        text: str,
        *,
        by: ProfileId = BOB,
        where: ConversationId = WITH_BOB,
        reply_to: Ref | None = None,
        thread: Ref | None = None,
    ) -> Message:
        """Put a message into a conversation, and tell nobody."""
        log = self.messages[where]
        seq = len(log) + 1
        message = Message(
            conversation=where,
            seq=seq,
            client_id=ClientId(id_of(1_000 + seq)),
            profile=by,
            device=DeviceId(id_of(100 + by.int % 100)),
            written=self._began + timedelta(minutes=seq),
            mine=by == ME,
            text=text,
            reply_to=reply_to,
            thread=thread,
        )
        log.append(message)
        if thread is not None:
            self._change(where, thread, lambda root: replace(root, replies=root.replies + 1))
        return message

    def say(self, text: str, **how: Any) -> Message:
        """Somebody writes while the chat is open."""
        message = self.written(text, **how)
        self.push(message)
        return message

    def push(self, event: Event | Message | Changed | Exception) -> None:
        """Something happens."""
        self._events.put_nowait(event)

    def _change(self, where: UUID, ref: Ref, change: Any) -> None:
        self.messages[where] = [change(each) if each.ref == ref else each for each in self.messages[where]]

    # The interface.

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """See `Rpc`."""
        self.calls[method] += 1
        given = {
            name: msgspec.convert(value, Ref, dec_hook=decode_text_id)
            if name in {"message", "reply", "thread"}
            else value
            for name, value in params.items()
        }
        return msgspec.to_builtins(await getattr(self, f"_{method.replace('.', '_')}")(**given))

    async def events(self) -> AsyncIterator[Any]:
        """See `Rpc`."""
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            kind = {"type": "message"} if isinstance(event, Message) else {}
            yield msgspec.to_builtins(event) | kind

    async def _whoami(self) -> object:
        return {"profiles": [{"profile": ME}], "connected": False}

    async def _conversations(self) -> object:
        self.listing.set()
        await self.listed.wait()
        names = {WITH_BOB: ("bob", ConversationKind.DM), GROUP: ("hiking", ConversationKind.GROUP)}
        return [
            Chat(
                id=ConversationId(where),
                name=names[ConversationId(where)][0],
                kind=names[ConversationId(where)][1],
                unread=sum(not each.mine and each.seq > self.read.get(where, 0) for each in log),
                last=log[-1].text if log else "",
                time=log[-1].written if log else None,
            )
            for where, log in self.messages.items()
        ]

    async def _open(self, to: str) -> object:
        await self.opened.wait()
        if to not in {"bob", "hiking"}:
            raise Failure(f"there is nobody named '{to}'", "add a contact")
        return WITH_BOB if to == "bob" else GROUP

    async def _history(
        self, conversation: str, before: int | None = None, limit: int = 50, thread: Ref | None = None
    ) -> object:
        log = self.messages[UUID(conversation)]
        if thread is not None:
            return [each for each in log if thread in {each.ref, each.thread}]
        return [each for each in log if before is None or each.seq < before][-limit:]

    async def _members(self, conversation: str) -> object:
        found = [Member(profile=ME, name="you"), Member(profile=BOB, name="bob")]
        return found if UUID(conversation) == WITH_BOB else [*found, Member(profile=CAROL, name="carol")]

    async def _send(self, to: str, text: str, reply: Ref | None = None, thread: Ref | None = None) -> object:
        if self.refuse is not None:
            raise Failure(self.refuse)
        if self.unaccepted:
            return {"sent": None}
        await self.held.wait()
        message = self.written(text, by=ME, where=ConversationId(UUID(to)), reply_to=reply, thread=thread)
        return {"sent": {"seq": message.seq}}

    async def _react(self, conversation: str, message: Ref, emoji: str, *, on: bool) -> None:
        now = (Reactions(emoji, (ME,)),) if on else ()
        self._change(UUID(conversation), message, lambda each: replace(each, reactions=now))

    async def _edit(self, conversation: str, message: Ref, text: str) -> None:
        self._change(UUID(conversation), message, lambda each: replace(each, text=text, edited=BEGAN))

    async def _delete(self, conversation: str, message: Ref) -> None:
        self._change(UUID(conversation), message, lambda each: replace(each, text="", deleted=True))

    async def _mark_read(self, conversation: str, upto: int) -> None:
        self.read[UUID(conversation)] = upto

    async def _typing(self, conversation: str, *, active: bool) -> None:
        assert UUID(conversation) in self.messages
        self.typed.append(active)

    async def _search(self, words: str) -> object:
        found = [each for log in self.messages.values() for each in log if words in each.text]
        return [{"message": each} for each in reversed(found)]

    async def _group_add(self, group: str, who: str) -> None:
        raise Failure(f"'{who}' cannot be invited into {group}")

    async def _reconnect(self) -> None: ...
