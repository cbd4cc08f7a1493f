"""A client in a thread of its own, on Trio, asked by a chat on asyncio: the methods of the JSON-RPC interface."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec
import trio

import varde
from varde_cli.chat.remote import Chat, Member, Rpc
from varde_cli.names import Names, find_profile, load_members, open_conversation
from varde_cli.options import Home
from varde_cli.run import Failure, telling_revocation
from varde_contract.bodies import MessageRef
from varde_contract.exception_groups import single_cause
from varde_contract.ids import ConversationId, decode_text_id
from varde_contract.talk import ConversationKind

UNREAD: Final = 100
"""More are not counted."""


class _Thread:
    """The client, and the two loops that meet here. See `Rpc`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._ended: BaseException | None = None
        self.ready: Future[None] = Future()
        self._client: varde.Client
        self._nursery: trio.Nursery
        self._token: trio.lowlevel.TrioToken

    def run(self) -> None:
        """Run the client to its end: the thread's function."""
        try:
            trio.run(self._run)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits, in the other thread
            self._end(single_cause(error))
        else:
            self._end(Failure("the client has ended"))

    def _end(self, error: BaseException) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
        self._tell(error)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery, varde.connect(self._home.folder, self._home.unlock) as client:
            self._client = client
            events = client.events()
            self.ready.set_result(None)
            async for event in events:
                self._tell(msgspec.to_builtins(event))

    def _tell(self, event: object) -> None:
        with suppress(RuntimeError):  # the chat has ended, and its loop with it
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def cancel(self) -> None:
        """Let the client end, in order."""
        with suppress(trio.RunFinishedError, AttributeError):
            self._token.run_sync_soon(self._nursery.cancel_scope.cancel)

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """See `Rpc`."""
        answer: Future[Any] = Future()
        if self._ended is not None:
            raise self._ended
        self._token.run_sync_soon(self._nursery.start_soon, self._answer, method, params, answer)
        return await asyncio.wrap_future(answer)

    async def _answer(self, method: str, params: dict[str, Any], answer: "Future[Any]") -> None:
        try:
            if method not in METHODS:
                raise Failure(f"this version of varde has no {method}")  # noqa: TRY301
            async with telling_revocation(self._client):
                result = msgspec.to_builtins(await METHODS[method](self._client, **params))
        except trio.Cancelled:
            answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised again where it was asked
            answer.set_exception(error)
        else:
            answer.set_result(result)

    async def events(self) -> AsyncIterator[Any]:
        """See `Rpc`."""
        while not isinstance(event := await self._events.get(), BaseException):
            yield event
        self._ended = event
        raise event


@contextmanager
def open_local(home: Home) -> Iterator[Callable[[], Awaitable[Rpc]]]:
    """Have a client in a thread while the block runs. What is handed out starts it, and raises why it cannot be."""
    started: list[tuple[_Thread, threading.Thread]] = []

    async def start() -> Rpc:
        client = _Thread(home)
        thread = threading.Thread(target=client.run, name="client", daemon=True)
        started.append((client, thread))
        thread.start()
        await asyncio.wrap_future(client.ready)
        return client

    try:
        yield start
    finally:
        for client, thread in started:
            client.cancel()
            thread.join()  # a second Ctrl-C ends the process meanwhile, which the local store is made for


Method: TypeAlias = Callable[..., Awaitable[object]]


async def _whoami(client: varde.Client) -> object:
    profiles = [{"profile": profile.id} for profile in client.identity.profiles]
    return {"profiles": profiles, "connected": client.connected}


async def _conversations(client: varde.Client) -> object:
    names = Names(client)
    return [await _chat(names, each) for each in await client.conversations()]


async def _chat(names: Names, conversation: varde.Conversation) -> Chat:
    await load_members(conversation)
    last = conversation.history(1)
    others = ", ".join(names.of(each.profile) for each in conversation.members if not names.is_mine(each.profile))
    own = "notes to yourself" if conversation.kind is ConversationKind.SELF else "nobody but you"
    newest = conversation.history(UNREAD)
    return Chat(
        id=conversation.id,
        name=others or own,
        kind=conversation.kind,
        unread=sum(not each.mine and each.seq > conversation.read_upto for each in newest),
        last=last[-1].text if last else "",
        time=last[-1].written if last else None,
    )


async def _open(client: varde.Client, to: str, as_profile: str | None = None) -> object:
    return (await open_conversation(client, Names(client), to, as_profile)).id


async def _history(
    client: varde.Client, conversation: str, before: int | None = None, limit: int = 50, thread: object = None
) -> object:
    talk = _conversation(client, conversation)
    if thread is None:
        return talk.history(limit, before=before)
    root = talk.message(_ref(thread))
    return [*(() if root is None else (root,)), *talk.thread(_ref(thread))]


async def _members(client: varde.Client, conversation: str) -> object:
    found, names = await load_members(_conversation(client, conversation), fresh=True), Names(client)
    receipts = found.receipts
    return [
        Member(
            profile=each.profile,
            name=names.of(each.profile),
            role=each.role,
            delivered=receipts.get(each.profile, (0, 0))[0],
            read=receipts.get(each.profile, (0, 0))[1],
        )
        for each in found.members
    ]


async def _send(client: varde.Client, to: str, text: str, reply: object = None, thread: object = None) -> object:
    conversation = _conversation(client, to)
    refs = [None if each is None else _ref(each) for each in (reply, thread)]
    return {"sent": await conversation.send(text, reply_to=refs[0], thread=refs[1])}


async def _react(client: varde.Client, conversation: str, message: object, emoji: str, *, on: bool) -> object:
    try:
        return await _conversation(client, conversation).react(_ref(message), emoji, on=on)
    except ValueError:
        raise Failure(f"'{emoji}' is no emoji") from None


async def _edit(client: varde.Client, conversation: str, message: object, text: str) -> object:
    return await _conversation(client, conversation).edit(_ref(message), text)


async def _delete(client: varde.Client, conversation: str, message: object) -> object:
    return await _conversation(client, conversation).delete(_ref(message))


async def _search(client: varde.Client, words: str, limit: int = 100) -> object:
    return await client.search(words, limit=limit)


async def _reconnect(client: varde.Client) -> None:
    client.reconnect()


async def _mark_read(client: varde.Client, conversation: str, upto: int) -> None:
    await _conversation(client, conversation).read(upto)


async def _typing(client: varde.Client, conversation: str, *, active: bool) -> None:
    _conversation(client, conversation).typing(active)


async def _invite(client: varde.Client, group: str, who: str) -> None:
    await _conversation(client, group).invite(await find_profile(client, who))


async def _add_contact(client: varde.Client, name: str, who: str) -> None:
    client.contacts.add(name, await find_profile(client, who))


def _ref(given: object) -> MessageRef:
    return msgspec.convert(given, MessageRef, dec_hook=decode_text_id)


def _conversation(client: varde.Client, conversation: str) -> varde.Conversation:
    return client.conversation(ConversationId(UUID(conversation)))


METHODS: Final[dict[str, Method]] = {
    "whoami": _whoami,
    "conversations": _conversations,
    "open": _open,
    "history": _history,
    "members": _members,
    "send": _send,
    "react": _react,
    "edit": _edit,
    "delete": _delete,
    "search": _search,
    "reconnect": _reconnect,
    "mark_read": _mark_read,
    "typing": _typing,
    "group.add": _invite,
    "contacts.add": _add_contact,
}
