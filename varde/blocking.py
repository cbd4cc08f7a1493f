"""Varde for programs without a loop: the same client, in which every call waits.

    with varde.blocking.connect(home, unlock) as client:
        client.open_dm(profile).send("hei")

Trio runs in a thread of its own. Every method means what the same method of `varde.Client` and `varde.Conversation`
means, and raises the same errors; each has a time limit (see `within`), and raises TimeoutError after it. All of it may
be called from any thread. Ctrl-C ends the call that waits, and the block closes the client.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

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


@contextmanager
def _open_calls() -> Iterator[Calls]:
    _check_no_loop()
    calls = Calls()
    thread = threading.Thread(target=trio.run, args=(calls.serve,), name="varde", daemon=True)
    thread.start()
    try:
        calls.ready.result()
        yield calls
    finally:
        calls.close()
        thread.join()


def _check_no_loop() -> None:
    """Raise RuntimeError inside a loop, which a call that waits would stop."""
    # asyncio first: a Trio that is its guest runs then, too.
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented for this: it returns None without a loop
        raise RuntimeError("varde.blocking would stop the asyncio loop that runs here: use varde.aio")
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("varde.blocking would stop the Trio that runs here: use varde.connect")


def _wait(started: Call[R]) -> R:
    try:
        return started.future.result()
    except KeyboardInterrupt:
        started.cancel()
        wait([started.future])
        raise


class Object(Facade[T]):
    """What all objects here are made of."""

    def run(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Wait for anything of the SDK, as `client.run(client.sdk.own_list.refresh)`: for what has no method here."""
        _check_no_loop()
        return _wait(self._calls.start(lambda: function(*args, **kwargs), self._seconds))


class Method(Generic[T, P, R]):
    """A method of the SDK, which waits here."""

    def __init__(self, function: Callable[Concatenate[T, P], Coroutine[Any, Any, R]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Object[T], owner: type) -> Callable[P, R]:
        """Bind it."""

        def bound(*args: P.args, **kwargs: P.kwargs) -> R:
            return instance.run(self._function, instance.sdk, *args, **kwargs)

        return bound


call = Method


class Opening(Generic[P]):
    """A method of the SDK that gives a conversation."""

    def __init__(
        self, function: Callable[Concatenate[varde.Client, P], Coroutine[Any, Any, varde.Conversation]]
    ) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: "Client", owner: type) -> Callable[P, "Conversation"]:
        """Bind it."""

        def bound(*args: P.args, **kwargs: P.kwargs) -> "Conversation":
            return instance.wrap(instance.run(self._function, instance.sdk, *args, **kwargs))

        return bound


opens = Opening


class Local(Generic[T, P, R]):
    """A method of the SDK that waits for nothing but its thread."""

    def __init__(self, function: Callable[Concatenate[T, P], R]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Object[T], owner: type) -> Callable[P, R]:
        """Bind it."""

        def bound(*args: P.args, **kwargs: P.kwargs) -> R:
            return instance._calls.read(lambda: self._function(instance.sdk, *args, **kwargs)).result()  # noqa: SLF001

        return bound


local = Local


class Value(Generic[T, R]):
    """A property of the SDK."""

    def __init__(self, function: Callable[[T], R]) -> None:
        self._function = function

    def __get__(self, instance: Object[T], owner: type) -> R:
        """Read it."""
        return instance._calls.read(lambda: self._function(instance.sdk)).result()  # noqa: SLF001 - the same room


class Events(Generic[E]):
    """An iteration over events. Interrupted while it waits, it loses nothing: the next call goes on."""

    def __init__(self, iterator: EventIterator[E], calls: Calls, seconds: float | None) -> None:
        self._iterator = iterator
        self._calls = calls
        self._seconds = seconds
        self._pending: Call[E] | None = None

    def __iter__(self) -> "Events[E]":
        return self

    def __next__(self) -> E:
        _check_no_loop()
        self._pending = self._pending or self._calls.start(self._iterator.__anext__, None)
        try:
            event = self._pending.future.result(self._seconds)
        except TimeoutError:
            raise TimeoutError(f"nothing happened within {self._seconds} seconds") from None
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

    def __iter__(self) -> Events[varde.Message]:
        """Iterate over messages, as `varde.Conversation` does. Waits without a limit."""
        return Events(self._calls.read(lambda: aiter(self.sdk)).result(), self._calls, None)


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

    def events(self, *, timeout: float | None = None) -> Events[varde.Event]:
        """Iterate over events, as `varde.Client.events`; TimeoutError when none comes for `timeout` seconds."""
        return Events(self._calls.read(self.sdk.events).result(), self._calls, timeout)

    def conversation(self, conversation: ConversationId) -> Conversation:
        """Return a conversation by its id, known or not yet."""
        return self.wrap(self.sdk.conversation(conversation))

    def conversations(self) -> tuple[Conversation, ...]:
        """Return this device's conversations, as `varde.Client.conversations`."""
        return tuple(self.wrap(each) for each in self.run(self.sdk.conversations))

    def wrap(self, conversation: varde.Conversation) -> Conversation:
        """Return a conversation of the SDK as one that waits."""
        return Conversation(conversation, self._calls, self._seconds)


@contextmanager
def connect(
    home: Path | str,
    unlock: Unlock,
    *,
    timeout: float | None = CALL_SECONDS,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Iterator[Client]:
    """Open the device of a home folder for the block, as `varde.connect` does and with its errors.

    `timeout` is the limit of each call, in seconds; None: none. RuntimeError inside a loop, which it would stop.
    """
    with _open_calls() as calls:
        holder = Holder(calls, home, unlock, transport)
        held = holder.start()
        failed = True
        try:
            yield Client(holder.opened.result(), calls, timeout)
            failed = False
        finally:
            holder.leave(failed=failed)
            wait([held.future])
            if not failed:
                held.future.result()


def _enrolment(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with _open_calls() as calls:
            return _wait(calls.start(lambda: function(*args, **kwargs), CALL_SECONDS))

    return run


def run(main: Callable[[], R]) -> R:
    """Call a program's main function; Ctrl-C ends it with exit code 130 and without a traceback."""
    try:
        return main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


request_code = _enrolment(varde.request_code)
sign_up = _enrolment(varde.sign_up)
log_in = _enrolment(varde.log_in)
forget_phrase = _enrolment(varde.forget_phrase)
sign_in_again = _enrolment(varde.sign_in_again)
