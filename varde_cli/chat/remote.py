"""The client as a chat uses it: the methods of its JSON-RPC interface, typed."""

import asyncio
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from varde import events as varde_events
from varde_contract.ids import ClientId, ConversationId, DeviceId, ProfileId, decode_text_id
from varde_contract.talk import ConversationKind, Role

T = TypeVar("T")
_LOOK_EVERY_S: Final = 2.0
_LOOK_AT: Final = 50
Ref: TypeAlias = tuple[DeviceId, ClientId]
"""Names a message of a conversation, before it has a number."""


class Rpc(Protocol):
    """A connection to whoever owns the home."""

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """Call a method. Raises Failure or VardeError for what is refused."""

    def events(self) -> AsyncIterator[Any]:
        """Iterate over the notifications of `subscribe`. Raises why there will be no more."""


class Reactions(Struct, frozen=True):
    """Who put an emoji on a message."""

    emoji: str
    profiles: tuple[ProfileId, ...]


class Message(Struct, frozen=True, kw_only=True):
    """A message as it stands now: with the text it was edited to, what others put on it, or deleted."""

    conversation: ConversationId
    seq: int
    device: DeviceId
    client_id: ClientId
    profile: ProfileId
    written: datetime
    mine: bool
    text: str
    reply_to: Ref | None = None
    thread: Ref | None = None
    timer: int = 0
    edited: datetime | None = None
    deleted: bool = False
    reactions: tuple[Reactions, ...] = ()
    replies: int = 0

    @property
    def ref(self) -> Ref:
        """What others name it by."""
        return self.device, self.client_id


class Changed(Struct, frozen=True, kw_only=True):
    """Somebody did something to a message that changes how it is shown, or its time is over."""

    conversation: ConversationId
    type: str
    target: Ref
    profile: ProfileId | None = None
    emoji: str = ""
    on: bool = True
    text: str = ""


Event: TypeAlias = Message | Changed | varde_events.Event


class Chat(Struct, frozen=True, kw_only=True):
    """One conversation of the list."""

    id: ConversationId
    name: str
    kind: ConversationKind
    unread: int = 0
    last: str = ""
    time: datetime | None = None
    muted: bool = False


class Member(Struct, frozen=True, kw_only=True):
    """Somebody in a conversation, and how far they have received and read it."""

    profile: ProfileId
    name: str
    role: Role = Role.MEMBER
    delivered: int = 0
    read: int = 0


class _OwnProfile(Struct, frozen=True):
    profile: ProfileId


class WhoAmI(Struct, frozen=True):
    """Whose home it is."""

    profiles: tuple[_OwnProfile, ...]
    connected: bool

    @property
    def mine(self) -> frozenset[ProfileId]:
        """The account's profiles."""
        return frozenset(each.profile for each in self.profiles)


class _Sent(Struct, frozen=True):
    seq: int


class _Sending(Struct, frozen=True):
    sent: _Sent | None


class Hit(Struct, frozen=True):
    """A message that was found."""

    message: Message


def decode_event(event: dict[str, Any]) -> Event:
    """Decode a notification. Raises msgspec.ValidationError for one that is not known here."""
    match event.get("type"):
        case "message":
            return msgspec.convert(event, Message, dec_hook=decode_text_id)
        case "reaction" | "edited" | "deleted":
            return msgspec.convert(event, Changed, dec_hook=decode_text_id)
        case "expired":
            return msgspec.convert({**event, "target": event["message"]}, Changed, dec_hook=decode_text_id)
    decoded: varde_events.Event = msgspec.convert(event, varde_events.Event, dec_hook=decode_text_id)
    return decoded


class Remote:
    """The calls. Each raises Failure or VardeError for what is refused."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def _call(self, returned: type[T], method: str, **params: object) -> T:
        return msgspec.convert(await self._do(method, **params), returned, dec_hook=decode_text_id)

    async def _do(self, method: str, **params: object) -> object:
        given = {name: value for name, value in params.items() if value is not None}
        result: object = await self._rpc.call(method, msgspec.to_builtins(given))
        return result

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over what happens. Raises why there will be no more."""
        async for event in self._rpc.events():
            with suppress(msgspec.ValidationError):  # of a newer version of this program, which owns the home
                yield decode_event(event)

    async def whoami(self) -> WhoAmI:
        """Return whose home it is, and whether it is connected."""
        return await self._call(WhoAmI, "whoami")

    async def chats(self) -> tuple[Chat, ...]:
        """Return the conversations."""
        return await self._call(tuple[Chat, ...], "conversations")

    async def open(self, who: str, as_profile: str | None = None) -> ConversationId:
        """Return the conversation that somebody names, made if it is not there."""
        return await self._call(ConversationId, "open", to=who, as_profile=as_profile)

    async def history(
        self, conversation: ConversationId, *, before: int | None = None, limit: int
    ) -> tuple[Message, ...]:
        """Return messages before a number, in their order."""
        return await self._call(tuple[Message, ...], "history", conversation=conversation, before=before, limit=limit)

    async def thread(self, conversation: ConversationId, root: Ref) -> tuple[Message, ...]:
        """Return the messages of a thread."""
        return await self._call(tuple[Message, ...], "history", conversation=conversation, thread=root)

    async def members(self, conversation: ConversationId) -> tuple[Member, ...]:
        """Return who is in a conversation."""
        return await self._call(tuple[Member, ...], "members", conversation=conversation)

    async def send(
        self,
        conversation: ConversationId,
        text: str,
        *,
        reply_to: Ref | None = None,
        thread: Ref | None = None,
    ) -> Message | None:
        """Send a text, and return the message when the server has stored it, however long that takes.

        None where that is not waited for, because the other has to accept first: it is kept, and goes out by itself.
        """
        given = {"to": conversation, "text": text, "reply": reply_to, "thread": thread}
        seq = (await self._call(_Sending, "send", **given)).sent
        if seq is None:
            return None
        page = await self.history(conversation, before=seq.seq + 1, limit=1)
        return page[-1]

    async def wait_stored(self, conversation: ConversationId, text: str, known: AbstractSet[Ref]) -> Message:
        """Wait until an own message with this text is there that is none of the known ones."""
        while True:
            # Nothing tells of an own message that is stored at last, so it is looked for.
            await asyncio.sleep(_LOOK_EVERY_S)
            for each in await self.history(conversation, limit=_LOOK_AT):
                if each.mine and each.text == text and each.ref not in known:
                    return each

    async def react(self, conversation: ConversationId, message: Ref, emoji: str, *, on: bool) -> None:
        """Put an emoji on a message, or take it away."""
        await self._do("react", conversation=conversation, message=message, emoji=emoji, on=on)

    async def edit(self, conversation: ConversationId, message: Ref, text: str) -> None:
        """Change the text of an own message."""
        await self._do("edit", conversation=conversation, message=message, text=text)

    async def delete(self, conversation: ConversationId, message: Ref) -> None:
        """Delete an own message, for everybody."""
        await self._do("delete", conversation=conversation, message=message)

    async def mark_read(self, conversation: ConversationId, upto: int) -> None:
        """Mark messages as read."""
        await self._do("mark_read", conversation=conversation, upto=upto)

    async def typing(self, conversation: ConversationId, *, active: bool) -> None:
        """Show the others that somebody types."""
        await self._do("typing", conversation=conversation, active=active)

    async def search(self, words: str) -> tuple[Hit, ...]:
        """Return messages that have all the words, the newest first."""
        return await self._call(tuple[Hit, ...], "search", words=words)

    async def invite(self, conversation: ConversationId, who: str) -> None:
        """Invite somebody into a group."""
        await self._do("group.add", group=conversation, who=who)

    async def add_contact(self, name: str, profile: ProfileId) -> None:
        """Remember somebody by a name, on this device."""
        await self._do("contacts.add", name=name, who=str(profile))

    async def reconnect(self) -> None:
        """Try to connect now."""
        await self._do("reconnect")
