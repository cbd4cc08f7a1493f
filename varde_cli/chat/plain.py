"""The chat of a pipe, or of a terminal that can do nothing: what comes is printed, lines are sent."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, TextIO

from varde.errors import VardeError
from varde.events import Connected, Disconnected
from varde_cli.chat.notices import ANYWHERE, notice
from varde_cli.chat.remote import Changed, Chat, Event, Message, Remote
from varde_cli.chat.slash_commands import HISTORY, Context, command_of, run_slash_command
from varde_cli.output import format_time, printable
from varde_cli.run import Exit, Failure, describe
from varde_contract.ids import ConversationId, ProfileId

_CHUNK_BYTES: Final = 64 * 1024
_NAME_WIDTH: Final = 8
_SHORT: Final = 6
_LATE_S: Final = 1.5


class PlainChat:
    """One conversation, printed."""

    def __init__(self, remote: Remote, out: TextIO, descriptor: int = 0) -> None:
        self._remote = remote
        self._out = out
        self._descriptor = descriptor
        self._mine: frozenset[ProfileId] = frozenset()
        self._names: dict[ProfileId, str] = {}
        self._shown = 0
        self._offline = False
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self, who: str | None = None, as_profile: str | None = None) -> int:
        """Show and send until the input ends or somebody says /quit. Raises why the client ended."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.end, Exit.INTERRUPTED)
        async with asyncio.TaskGroup() as group:
            chatting = group.create_task(self._chat(who, as_profile))
            await asyncio.wait((chatting, self._ended), return_when=asyncio.FIRST_COMPLETED)
            chatting.cancel()
        return self._ended.result() if self._ended.done() else Exit.OK

    async def _chat(self, who: str | None, as_profile: str | None) -> None:
        self._mine = (await self._remote.whoami()).mine
        conversation = await self._choose(who, as_profile)
        await self._show_start(conversation)
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(self._show_events(conversation))
            await self._enter_lines(conversation)
            showing.cancel()

    async def _choose(self, who: str | None, as_profile: str | None) -> ConversationId:
        if who is not None:
            return await self._remote.open(who, as_profile)
        chats = await self._remote.chats()
        if len(chats) > 1:
            raise Failure("there are several conversations", "name one; `varde conversations` lists them")
        if chats:
            return chats[0].id
        self._line("Nobody has written to you yet. `varde invite create` makes a link that leads to you. Waiting …")
        # No deadline: a person waits for a person, and Ctrl-C ends it.
        async for event in self._remote.events():
            if isinstance(event, Message):
                return event.conversation
        raise AssertionError("events end with an error only")

    async def _show_start(self, conversation: ConversationId) -> None:
        members = await self._remote.members(conversation)
        self._names = {each.profile: each.name for each in members}
        found: list[Chat] = [each for each in await self._remote.chats() if each.id == conversation]
        self._line(f"── {found[0].name if found else conversation} · /help for commands")
        await self.show_history(conversation, HISTORY)
        if self._shown:
            await self._remote.mark_read(conversation, self._shown)

    async def show_history(self, conversation: ConversationId, count: int) -> None:
        """Show the last messages that this device holds."""
        messages = await self._remote.history(conversation, limit=count)
        for message in messages:
            self._show(message)
        if messages:
            self._line("── now")

    def _show(self, message: Message) -> None:
        self._shown = max(self._shown, message.seq)
        mark = " ✓" if message.mine else ""
        time = format_time(message.written)
        first, *rest = printable("(deleted)" if message.deleted else message.text).split("\n")
        indent = " " * (len(time) + _NAME_WIDTH + 2)
        body = "\n".join((first, *(f"{indent}{line}" for line in rest)))
        self._out.write(f"{time} {printable(self._name(message.profile)):<{_NAME_WIDTH}} {body}{mark}\n")
        self._out.flush()

    def _line(self, text: str) -> None:
        self._out.write(f"{printable(text)}\n")
        self._out.flush()

    def _name(self, profile: ProfileId) -> str:
        return "you" if profile in self._mine else self._names.get(profile) or f"…{str(profile)[-_SHORT:]}"

    async def _show_events(self, conversation: ConversationId) -> None:
        async for event in self._remote.events():
            await self._take(conversation, event)

    async def _take(self, conversation: ConversationId, event: Event) -> None:
        where = getattr(event, "conversation", None)
        match event:
            case Disconnected() if not self._offline:
                self._offline = True
                self._line("   offline; what you write waits here")
            case Connected() if self._offline:
                self._offline = False
                self._line("   online again")
            case Message() if where != conversation:
                if not event.mine:
                    self._line(f"   {self._name(event.profile)} wrote in another conversation")
            case Message() if event.seq > self._shown:
                self._show(event)
                if not event.mine:
                    await self._remote.mark_read(conversation, event.seq)
            case _ if where == conversation or isinstance(event, ANYWHERE):
                said = self._words(event)
                if said is not None:
                    self._line(f"   {said}")

    def _words(self, event: Event) -> str | None:
        if isinstance(event, Changed):
            name = "somebody" if event.profile is None else self._name(event.profile)
            said = {
                "reaction": f"{name} {'put' if event.on else 'took away'} {event.emoji}",
                "edited": f"{name} changed a message: {event.text}",
                "deleted": f"{name} deleted a message",
            }
            return said.get(event.type)
        told = notice(event, self._name)
        return None if told is None else told[0]

    async def _enter_lines(self, conversation: ConversationId) -> None:
        async for line in read_lines(self._descriptor):
            try:
                await self._enter(conversation, line)
            except (VardeError, Failure) as error:
                self._line(f"   {describe(error)}")

    async def _enter(self, conversation: ConversationId, line: str) -> None:
        if not line.isprintable() and any("\ud800" <= each <= "\udfff" for each in line):
            raise Failure("this line is no text in UTF-8, and was not sent")
        command, text = command_of(line)
        if command is not None:
            for each in await run_slash_command(Context(self, self._remote, conversation), command):
                self._line(f"   {each}")
        elif text.strip():
            late = asyncio.get_running_loop().call_later(_LATE_S, self._line, "   waits here, and goes out by itself")
            try:
                message = await self._remote.send(conversation, text)
            finally:
                late.cancel()
            if message is None:
                self._line("   waits here until they accept, and goes out by itself")
            else:
                self._show(message)

    def end(self, how: int) -> None:
        """End the chat with an exit code."""
        if not self._ended.done():
            self._ended.set_result(how)


async def read_lines(descriptor: int) -> AsyncIterator[str]:
    """Iterate over lines without their ends, the last one also when it has none. Bytes that are no text are surrogates.

    A thread reads them, which nothing can interrupt: it is left behind, and dies with the process. It reads the
    descriptor, because the interpreter wants the lock of `sys.stdin` when it ends.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    # The next line is given when the one before was taken: a long pipe is not read into memory.
    taken = threading.Semaphore()

    def put(line: str | None) -> None:
        taken.acquire()
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        pending = b""
        with suppress(RuntimeError, OSError):  # the loop has ended meanwhile; the terminal is gone
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                *whole, pending = (pending + chunk).split(b"\n")
                for line in whole:
                    put(line.decode(errors="surrogateescape").removesuffix("\r"))
            if pending:
                put(pending.decode(errors="surrogateescape"))
        with suppress(RuntimeError):
            put(None)

    threading.Thread(target=read, name="input", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line
        taken.release()
