"""A small bot: commands, a handler for each kind of event, and a clean end.

    bot = Bot()

    @bot.command("hei")
    async def hei(command: Command) -> str:
        return "hei, " + " ".join(command.args)

    bot.run(home, varde.KeyFile(home / "key"))

With `run` and `serve` handlers run under Trio, with `run_asyncio` and `serve_asyncio` as tasks of asyncio.
"""

import asyncio
import logging
import shlex
import signal
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import trio
from msgspec import Struct

from varde import aio
from varde.client import Client
from varde.errors import VardeError
from varde.event_stream import Where
from varde.events import Connected, Event, Message, RequestsChanged, Sent
from varde.store import Unlock
from varde.tasks import connect
from varde_contract.ids import ConversationId

E = TypeVar("E", bound=Event)
WAITING_MOST = 1_000
"""Events whose handler has not ended. More wait in the store: a bot that is flooded does not grow."""
HANDLER_SECONDS = 60.0
FAILED = "That did not work: an error of the bot."
BAD_QUOTES = "A quotation mark is not closed."

_log = logging.getLogger("varde.bot")


class Command(Struct, frozen=True):
    """Somebody's command: `/remind 10 "buy milk"` has the name `remind` and the arguments `10` and `buy milk`."""

    name: str
    args: tuple[str, ...]
    message: Message

    def reply(self, text: str) -> Awaitable[Sent]:
        """Answer it: `Message.reply`."""
        return self.message.reply(text)


CommandHandler: TypeAlias = Callable[[Command], Coroutine[Any, Any, str | None]]
Handler: TypeAlias = Callable[[E], Coroutine[Any, Any, None]]
Runner: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]


class Bot:
    """Hands events of one client to handlers.

    In each conversation one handler runs at a time, in the order of events; conversations do not wait for each other.
    What the bot's own account says is handed to nobody. A handler that fails, or takes longer than `timeout` seconds,
    is told to the log `varde.bot`, and for a command to who gave it; the bot goes on. An event counts as taken when it
    is handed on: one whose handler ran when the process died does not come again.
    """

    def __init__(self, *, prefix: str = "/", accept_requests: bool = False, timeout: float = HANDLER_SECONDS) -> None:
        self._prefix = prefix
        self._accept_requests = accept_requests
        self._timeout = timeout
        self._commands: dict[str, CommandHandler] = {}
        self._handlers: dict[type, Callable[[Any], Coroutine[Any, Any, None]]] = {}

    def command(self, name: str) -> Callable[[CommandHandler], CommandHandler]:
        """Call this for messages that begin with the prefix and `name`, in any case. What it returns is the reply.

        Arguments are split as a shell does: at white space, which quotation marks and backslashes keep. Raises
        ValueError for a second handler, or a name with white space.
        """
        key = name.casefold()
        if not name or name.split() != [name] or key in self._commands:
            raise ValueError(f"{name!r} is no name for a command, or has a handler already")

        def add(handler: CommandHandler) -> CommandHandler:
            self._commands[key] = handler
            return handler

        return add

    def on(self, kind: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Call this for each event of a kind; for `Message`: those that are no command of this bot.

        Raises ValueError for a second handler.
        """
        if kind in self._handlers:
            raise ValueError(f"{kind.__name__} has a handler already")

        def add(handler: Handler[E]) -> Handler[E]:
            self._handlers[kind] = handler
            return handler

        return add

    def run(self, home: Path | str, unlock: Unlock) -> None:
        """Connect and serve under Trio until Ctrl-C or SIGTERM, which end it cleanly. Raises what `connect` raises."""

        async def main() -> None:
            async with _ended_by_signals(), connect(home, unlock) as client:
                await self.serve(client)

        trio.run(main)

    def run_asyncio(self, home: Path | str, unlock: Unlock) -> None:
        """As `run`, under asyncio."""

        async def main() -> None:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, task.cancel)
            with suppress(asyncio.CancelledError):
                async with aio.connect(home, unlock) as client:
                    await self.serve_asyncio(client)

        asyncio.run(main())

    async def serve(self, client: Client) -> None:
        """Serve a client under Trio until cancelled. Raises why the client ended, as `Client.events`."""

        async def run(handling: Coroutine[Any, Any, Any]) -> Any:
            return await handling

        await _Serving(client, client.conversation, run, self._handle, accept_requests=self._accept_requests).run()

    async def serve_asyncio(self, client: aio.Client) -> None:
        """As `serve`, under asyncio."""
        serving = _Serving(
            client.sdk, client.conversation, _run_in_asyncio, self._handle, accept_requests=self._accept_requests
        )
        await client.within(None).run(serving.run)

    async def _handle(self, event: Event, client: Client, run: Runner) -> None:
        command, answer = None, None
        try:
            command = self._command(event)
            with trio.fail_after(self._timeout):
                if command is not None:
                    answer = await run(self._commands[command.name](command))
                elif (handler := self._handlers.get(type(event))) is not None:
                    await run(handler(event))
        except _BadQuotes:
            command, answer = None, BAD_QUOTES
        except Exception as error:  # noqa: BLE001 - of a stranger's code, and not fatal
            # Not what was said: a log is no place for it.
            _log.exception("a handler of %s failed: %s", type(event).__name__, type(error).__name__)
            answer = FAILED if command is not None else None
        if answer and isinstance(event, Message):
            try:
                with trio.fail_after(self._timeout):
                    await client.conversation(event.conversation).reply(event, answer)
            except (VardeError, trio.TooSlowError, ValueError) as error:
                _log.warning("an answer was not sent: %s", error)

    def _command(self, event: Event) -> Command | None:
        if not isinstance(event, Message) or not event.text.startswith(self._prefix):
            return None
        first = event.text[len(self._prefix) :].split(maxsplit=1)
        if not first or first[0].casefold() not in self._commands:
            return None
        try:
            args = shlex.split(first[1]) if len(first) > 1 else []
        except ValueError:
            raise _BadQuotes from None
        return Command(first[0].casefold(), tuple(args), event)


class _BadQuotes(Exception):
    """The arguments of a command cannot be split."""


class _Serving:
    """One run of a bot, in Trio."""

    def __init__(
        self,
        client: Client,
        where: Where,
        run: Runner,
        handle: Callable[[Event, Client, Runner], Awaitable[None]],
        *,
        accept_requests: bool,
    ) -> None:
        self._client = client
        self._where = where
        self._run = run
        self._handle = handle
        self._accept_requests = accept_requests
        self._queues: dict[ConversationId | None, deque[Event]] = {}
        self._room = trio.Semaphore(WAITING_MOST)

    async def run(self) -> None:
        events = self._client.events()
        events.where = self._where
        # As itself, and not in a group of a nursery that the caller never opened.
        end: VardeError | None = None
        async with trio.open_nursery() as nursery:
            try:
                async for event in events:
                    if self._accept_requests and isinstance(event, Connected | RequestsChanged):
                        nursery.start_soon(self._accept)
                    if not getattr(event, "mine", False):
                        await self._put(event, nursery)
            except VardeError as error:
                end = error
                nursery.cancel_scope.cancel()
        if end is not None:
            raise end

    async def _put(self, event: Event, nursery: trio.Nursery) -> None:
        await self._room.acquire()
        conversation = cast("ConversationId | None", getattr(event, "conversation", None))
        if conversation in self._queues:
            self._queues[conversation].append(event)
            return
        self._queues[conversation] = deque([event])
        nursery.start_soon(self._drain, conversation)

    async def _drain(self, conversation: ConversationId | None) -> None:
        queue = self._queues[conversation]
        while queue:
            await self._handle(queue.popleft(), self._client, self._run)
            self._room.release()
        del self._queues[conversation]

    async def _accept(self) -> None:
        try:
            for request in await self._client.requests():
                await self._client.conversation(request.conversation).accept()
        except VardeError as error:
            _log.warning("requests were not accepted: %s", error)  # at the next one, or connection, again


async def _run_in_asyncio(handling: Coroutine[Any, Any, Any]) -> Any:
    """From Trio, a guest of the running loop: run a task of asyncio, and cancel it when this is cancelled."""
    done, token = trio.Event(), trio.lowlevel.current_trio_token()
    task = asyncio.get_running_loop().create_task(handling)
    task.add_done_callback(lambda _: token.run_sync_soon(done.set))
    try:
        await done.wait()
    except trio.Cancelled:
        task.cancel()
        with trio.CancelScope(shield=True):
            await done.wait()
        raise
    if task.cancelled():
        raise RuntimeError("the handler cancelled itself")  # else it would look like the end of the bot
    return task.result()


@asynccontextmanager
async def _ended_by_signals() -> AsyncIterator[None]:
    async def wait(scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            listening.set()
            async for _ in received:
                scope.cancel()

    listening = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, nursery.cancel_scope)
        await listening.wait()
        yield
        nursery.cancel_scope.cancel()
