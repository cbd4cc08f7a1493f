"""Varde for asyncio: the same client, awaited in the loop that runs already.

    async with varde.aio.connect(home, unlock) as client:
        async for event in client.events():
            if isinstance(event, varde.Message):
                await event.reply("hei")

Trio runs as a guest of the loop, in its thread: no call leaves the thread, and events come in order. Every method means
what the same method of `varde.Client` and `varde.Conversation` means, and raises the same errors; each has a time limit
(see `within`), and raises TimeoutError after it. A call that is cancelled is cancelled.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import httpx
import trio

import varde
from varde.calls import CALL_SECONDS, Call, Calls, Facade, Holder
from varde.event_stream import EventIterator
from varde.store import Unlock
from varde_contract.ids import ConversationId

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
E = TypeVar("E", bound=varde.Event)


class _Guest:
    """The Trio in one loop, for all clients there: a thread can have one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.calls = Calls()
        self.users = 0
        self.done: asyncio.Future[None] = loop.create_future()
        trio.lowlevel.start_guest_run(
            self.calls.serve,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda _: self.done.set_result(None),
            host_uses_signal_set_wakeup_fd=True,
        )


_guests: WeakKeyDictionary[asyncio.AbstractEventLoop, _Guest] = WeakKeyDictionary()


@asynccontextmanager
async def _open_calls() -> AsyncIterator[Calls]:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("varde.aio is for a running asyncio loop; under Trio, use varde.connect") from None
    guest = _guests.get(loop)
    # One that is ending takes nobody in, and a second one may begin when it has ended.
    while guest is not None and not guest.users:
        await asyncio.shield(guest.done)
        guest = _guests.get(loop)
    if guest is None:
        guest = _guests[loop] = _Guest(loop)
    guest.users += 1
    try:
        await asyncio.shield(asyncio.wrap_future(guest.calls.ready))
        yield guest.calls
    finally:
        guest.users -= 1
        if not guest.users:
            guest.calls.close()
            await _settle(guest.done)
            _guests.pop(loop, None)


async def _settle(future: asyncio.Future[Any]) -> None:
    """Wait until it is done, also through cancellation: what is closing must have closed."""
    cancelled = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _wait(started: Call[R]) -> R:
    future = asyncio.wrap_future(started.future)
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        started.cancel()
        with suppress(asyncio.CancelledError):
            await _settle(future)
        if not future.cancelled():
            future.exception()  # looked at: the caller has gone
        raise
    return future.result()


def _check_thread(calls: Calls) -> None:
    """Raise RuntimeError outside the client's own loop."""
    try:
        guest = _guests.get(asyncio.get_running_loop())
    except RuntimeError:
        raise RuntimeError("this client belongs to an asyncio loop, and is called from outside of it") from None
    if guest is None:
        raise varde.Ended("the client was closed")
    if guest.calls is not calls:
        raise RuntimeError("this client belongs to another asyncio loop")


class Object(Facade[T]):
    """What all objects here are made of."""

    async def run(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Await anything of the SDK, as `client.run(client.sdk.own_list.refresh)`: for what has no method here."""
        _check_thread(self._calls)
        return await _wait(self._calls.start(lambda: function(*args, **kwargs), self._seconds))


class Method(Generic[T, P, R]):
    """A method of the SDK, awaitable here."""

    def __init__(self, function: Callable[Concatenate[T, P], Coroutine[Any, Any, R]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Object[T], owner: type) -> Callable[P, Coroutine[Any, Any, R]]:
        """Bind it."""

        async def bound(*args: P.args, **kwargs: P.kwargs) -> R:
            return await instance.run(self._function, instance.sdk, *args, **kwargs)

        return bound


call = Method


class Opening(Generic[P]):
    """A method of the SDK that gives a conversation."""

    def __init__(
        self, function: Callable[Concatenate[varde.Client, P], Coroutine[Any, Any, varde.Conversation]]
    ) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: "Client", owner: type) -> Callable[P, "Coroutine[Any, Any, Conversation]"]:
        """Bind it."""

        async def bound(*args: P.args, **kwargs: P.kwargs) -> "Conversation":
            return instance.wrap(await instance.run(self._function, instance.sdk, *args, **kwargs))

        return bound


opens = Opening


class Local(Generic[T, P, R]):
    """A method of the SDK that waits for nothing."""

    def __init__(self, function: Callable[Concatenate[T, P], R]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Object[T], owner: type) -> Callable[P, R]:
        """Bind it."""

        def bound(*args: P.args, **kwargs: P.kwargs) -> R:
            _check_thread(instance._calls)  # noqa: SLF001 - the same object
            return self._function(instance.sdk, *args, **kwargs)

        return bound


local = Local


class Value(Generic[T, R]):
    """A property of the SDK."""

    def __init__(self, function: Callable[[T], R]) -> None:
        self._function = function

    def __get__(self, instance: Object[T], owner: type) -> R:
        """Read it."""
        _check_thread(instance._calls)  # noqa: SLF001 - the same object
        return self._function(instance.sdk)


class Events(Generic[E]):
    """An iteration over events. Cancelled while it waits, it loses nothing: the next call goes on."""

    def __init__(self, iterator: EventIterator[E], calls: Calls) -> None:
        self._iterator = iterator
        self._calls = calls
        self._pending: Call[E] | None = None

    def __aiter__(self) -> "Events[E]":
        return self

    async def __anext__(self) -> E:
        _check_thread(self._calls)
        self._pending = self._pending or self._calls.start(self._iterator.__anext__, None)
        waited = asyncio.wrap_future(self._pending.future)
        # Looked at in any case: asyncio complains of an error that nobody sees, and whoever was cancelled does not.
        waited.add_done_callback(lambda future: future.cancelled() or future.exception())
        event = await asyncio.shield(waited)
        self._pending = None
        return event


def _value(function: Callable[[varde.Conversation], R]) -> Value[varde.Conversation, R]:
    return Value(function)


class Conversation(Object[varde.Conversation]):
    """A conversation: see `varde.Conversation`."""

    # What waits for the server.
    send = call(varde.Conversation.send)
    reply = call(varde.Conversation.reply)
    react = call(varde.Conversation.react)
    edit = call(varde.Conversation.edit)
    delete = call(varde.Conversation.delete)
    share_contact = call(varde.Conversation.share_contact)
    set_timer = call(varde.Conversation.set_timer)
    read = call(varde.Conversation.read)
    wait_accepted = call(varde.Conversation.wait_accepted)
    accept = call(varde.Conversation.accept)
    decline = call(varde.Conversation.decline)
    invite = call(varde.Conversation.invite)
    make_link = call(varde.Conversation.make_link)
    revoke_link = call(varde.Conversation.revoke_link)
    set_role = call(varde.Conversation.set_role)
    remove = call(varde.Conversation.remove)
    leave = call(varde.Conversation.leave)
    refresh = call(varde.Conversation.refresh)
    # What this device knows by itself.
    history = local(varde.Conversation.history)
    message = local(varde.Conversation.message)
    thread = local(varde.Conversation.thread)
    outgoing = local(varde.Conversation.outgoing)
    losses = local(varde.Conversation.losses)
    typing = local(varde.Conversation.typing)
    id = _value(lambda sdk: sdk.id)
    timer = _value(lambda sdk: sdk.timer)
    read_upto = _value(lambda sdk: sdk.read_upto)
    upto = _value(lambda sdk: sdk.upto)
    receipts = _value(lambda sdk: sdk.receipts)
    kind = _value(lambda sdk: sdk.kind)
    members = _value(lambda sdk: sdk.members)
    roster = _value(lambda sdk: sdk.roster)
    invited = _value(lambda sdk: sdk.invited)
    waiting = _value(lambda sdk: sdk.waiting)

    def __aiter__(self) -> "Events[varde.Message]":
        """Iterate over messages, as `varde.Conversation` does."""
        _check_thread(self._calls)
        iterator = aiter(self.sdk)
        iterator.where = lambda _: self
        return Events(iterator, self._calls)


def _of_client(function: Callable[[varde.Client], R]) -> Value[varde.Client, R]:
    return Value(function)


class Client(Object[varde.Client]):
    """A connected client: see `varde.Client`. Made by `connect`."""

    # What waits for the server.
    wait_connected = call(varde.Client.wait_connected)
    wait_ended = call(varde.Client.wait_ended)
    requests = call(varde.Client.requests)
    account_of = call(varde.Client.account_of)
    block = call(varde.Client.block)
    unblock = call(varde.Client.unblock)
    blocked = call(varde.Client.blocked)
    found_by = call(varde.Client.found_by)
    set_found_by = call(varde.Client.set_found_by)
    make_link = call(varde.Client.make_link)
    links = call(varde.Client.links)
    revoke_link = call(varde.Client.revoke_link)
    add_shared_contact = call(varde.Client.add_shared_contact)
    set_user_name = call(varde.Client.set_user_name)
    remove_user_name = call(varde.Client.remove_user_name)
    find_user_name = call(varde.Client.find_user_name)
    search = call(varde.Client.search)
    devices = call(varde.Client.devices)
    revoke_device = call(varde.Client.revoke_device)
    sessions = call(varde.Client.sessions)
    end_session = call(varde.Client.end_session)
    log_out = call(varde.Client.log_out)
    logged_lists = call(varde.Client.logged_lists)
    prove_list = call(varde.Client.prove_list)
    open_dm = opens(varde.Client.open_dm)
    open_group = opens(varde.Client.open_group)
    open_self = opens(varde.Client.open_self)
    use_link = opens(varde.Client.use_link)
    # What this device knows by itself.
    parse_link = local(varde.Client.parse_link)
    shared_contacts = local(varde.Client.shared_contacts)
    user_name = local(varde.Client.user_name)
    presence = local(varde.Client.presence)
    reconnect = local(varde.Client.reconnect)
    safety_number = local(varde.Client.safety_number)
    set_log_policy = local(varde.Client.set_log_policy)
    past_logs = local(varde.Client.past_logs)
    forget_log = local(varde.Client.forget_log)
    identity = _of_client(lambda sdk: sdk.identity)
    connected = _of_client(lambda sdk: sdk.connected)
    keeps_phrase = _of_client(lambda sdk: sdk.keeps_phrase)
    log_policy = _of_client(lambda sdk: sdk.log_policy)

    def events(self) -> Events[varde.Event]:
        """Iterate over events, as `varde.Client.events`. It waits without a limit: use `asyncio.timeout`."""
        _check_thread(self._calls)
        iterator = self.sdk.events()
        iterator.where = self.conversation
        return Events(iterator, self._calls)

    def conversation(self, conversation: ConversationId) -> Conversation:
        """Return a conversation by its id, known or not yet."""
        return self.wrap(self.sdk.conversation(conversation))

    async def conversations(self) -> tuple[Conversation, ...]:
        """Return this device's conversations, as `varde.Client.conversations`."""
        return tuple(self.wrap(each) for each in await self.run(self.sdk.conversations))

    def wrap(self, conversation: varde.Conversation) -> Conversation:
        """Return a conversation of the SDK as one of asyncio."""
        return Conversation(conversation, self._calls, self._seconds)


@asynccontextmanager
async def connect(
    home: Path | str,
    unlock: Unlock,
    *,
    timeout: float | None = CALL_SECONDS,  # noqa: ASYNC109 - of each call later, not of this one
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Client]:
    """Open the device of a home folder for the block, as `varde.connect` does and with its errors.

    `timeout` is the limit of each call, in seconds; None: none. Several clients may be open in one loop.
    """
    async with _open_calls() as calls:
        holder = Holder(calls, home, unlock, transport)
        held = asyncio.wrap_future(holder.start().future)
        failed = True
        try:
            sdk = await asyncio.wrap_future(holder.opened)
            yield Client(sdk, calls, timeout)
            failed = False
        finally:
            holder.leave(failed=failed)
            await _settle(held)
            if not failed:
                held.result()


def _enrolment(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        async with _open_calls() as calls:
            return await _wait(calls.start(lambda: function(*args, **kwargs), CALL_SECONDS))

    return run


def run(main: Coroutine[Any, Any, R]) -> R:
    """Run a program as `asyncio.run` does; Ctrl-C ends it with exit code 130 and without a traceback."""
    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


request_code = _enrolment(varde.request_code)
sign_up = _enrolment(varde.sign_up)
log_in = _enrolment(varde.log_in)
forget_phrase = _enrolment(varde.forget_phrase)
sign_in_again = _enrolment(varde.sign_in_again)
