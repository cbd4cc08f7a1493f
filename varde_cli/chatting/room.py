"""One conversation on a screen: what comes in is shown, what is entered is sent or obeyed.

No line is typed or drawn here: `keyboard.py` and `screen.py` do that, and `slash.py` what begins with a slash.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeAlias

import trio

import varde
from varde.events import (
    Connected,
    Disconnected,
    Event,
    Gap,
    Message,
    Presence,
    Receipt,
    RosterChange,
    Typing,
    Undecryptable,
    Unsent,
)
from varde_cli.chatting.keyboard import Keyboard, open_lines
from varde_cli.chatting.marks import Marks
from varde_cli.chatting.screen import Screen
from varde_cli.exits import describe
from varde_cli.naming import Names, know
from varde_cli.showing import plain, when
from varde_contract.ids import ProfileId
from varde_contract.talk import ConversationKind

HISTORY: Final = 20
_NAME_WIDTH: Final = 8
_COLOURS: Final = ("cyan", "magenta", "yellow", "green", "blue", "bright_red")
_TYPING_EVERY: Final = 3.0  # seconds between two looks at the keyboard
_TYPING_SHOWN: Final = 15.0  # seconds in which the same person's typing is told once
_LATE: Final = 1.5  # seconds after which one wants to know that a message waits


Obey: TypeAlias = Callable[["Room", str], Awaitable[None]]
"""What a line with a slash is given to."""


class Room:
    """A conversation, and the screen it is on."""

    def __init__(
        self, client: varde.Client, conversation: varde.Conversation, names: Names, screen: Screen, obey: Obey
    ) -> None:
        self._obey = obey
        self.client = client
        self.conversation = conversation
        self.names = names
        self.screen = screen
        self.marks = Marks()
        self.seen: dict[ProfileId, str] = {}
        self.over = trio.Event()
        self._shown = 0
        self._typing: dict[ProfileId, float] = {}
        self._said_down = False

    async def run(self, keyboard: Keyboard) -> None:
        """Show and send until the input ends or somebody says /quit."""
        await self._greet()
        async with trio.open_nursery() as nursery, open_lines(keyboard) as lines:
            nursery.start_soon(self._hear)
            nursery.start_soon(self._tell_typing, keyboard)
            nursery.start_soon(self._end_when_over, nursery.cancel_scope)
            async for line in lines:
                self.screen.forget_typed(line)
                await self._enter(line)
            nursery.cancel_scope.cancel()

    async def _greet(self) -> None:
        await know(self.conversation)
        members = self.conversation.members
        others = [self.names.of(each.profile) for each in members if not self.names.is_mine(each.profile)]
        title = {
            ConversationKind.SELF: "notes to yourself",
            ConversationKind.DM: f"chat with {', '.join(others)}",
            ConversationKind.GROUP: f"group of {len(members)}: you, {', '.join(others)}",
        }[self.conversation.kind]
        self.screen.line(f"── {title} · /help for commands", bold=True)
        self.show_history(HISTORY)
        if self._shown:
            await self.conversation.read(self._shown)

    def show_history(self, count: int) -> None:
        """Show the last messages that this device holds."""
        messages = self.conversation.history(limit=count)
        for message in messages:
            self.show(message)
        if messages:
            self.screen.line("── now", dim=True)

    def show(self, message: Message) -> None:
        """Show one message."""
        self._shown = max(self._shown, message.seq)
        mark = " ✓" if message.mine else ""
        self._write(message.written, message.profile, message.text + mark)

    def _write(self, moment: datetime, profile: ProfileId, text: str) -> None:
        name = plain(self.names.of(profile))
        mine = self.names.is_mine(profile)
        colour = None if mine else _COLOURS[profile.int % len(_COLOURS)]
        time = self.screen.style(when(moment), dim=True)
        styled = self.screen.style(f"{name:<{_NAME_WIDTH}}", fg=colour, bold=mine)
        first, *rest = plain(text).split("\n")
        indent = " " * (len(when(moment)) + _NAME_WIDTH + 2)
        self.screen.write("\n".join((f"{time} {styled} {first}", *(f"{indent}{line}" for line in rest))))

    async def _enter(self, line: str) -> None:
        try:
            if line.startswith("/"):
                await self._obey(self, line)
            elif line.strip():
                await self._send(line)
        except varde.VardeError as error:
            if isinstance(error, varde.Ended):
                raise
            self.screen.line(f"   {describe(error)}", fg="bright_red")

    async def _send(self, text: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_late)
            sent = await self.conversation.send(text)
            nursery.cancel_scope.cancel()
        self._shown = max(self._shown, sent.seq)
        self.marks.sent(sent.seq)
        self._write(sent.time, self.client.identity.profiles[0].id, f"{text} ✓")

    async def _tell_late(self) -> None:
        await trio.sleep(_LATE)
        self.screen.line("   waiting for the relay; what you wrote is kept and goes out by itself", dim=True)

    async def _hear(self) -> None:
        async for event in self.client.events():
            await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case Presence():
                self.seen[event.profile] = event.state.value
            case Disconnected() | Connected():
                self._show_connection(event)
            case Message() if event.conversation == self.conversation.id:
                await self._take_message(event)
            case Message() if not event.mine:
                self.screen.line(f"   {self.names.of(event.profile)} wrote in another conversation", dim=True)
            case _ if event.conversation == self.conversation.id:
                self._show_passing(event)

    async def _take_message(self, message: Message) -> None:
        if message.seq > self._shown:
            self.show(message)
        if not message.mine:
            await self.conversation.read(message.seq)

    def _show_passing(self, event: Event) -> None:
        match event:
            case Receipt() if not self.names.is_mine(event.profile):
                self._show_receipt(event)
            case Typing(active=True):
                self._show_typing(event.profile)
            case Typing():
                self._typing.pop(event.profile, None)
            case _:
                self._show_rest(event)

    def _show_receipt(self, receipt: Receipt) -> None:
        if self.screen.live and self.marks.take(receipt):
            what = "read" if receipt.read else "delivered"
            self.screen.line(f"   ✓✓ {what}: {self.names.of(receipt.profile)}", dim=True)

    def _show_typing(self, profile: ProfileId) -> None:
        now = trio.current_time()
        if self.screen.live and now - self._typing.get(profile, -_TYPING_SHOWN) >= _TYPING_SHOWN:
            self._typing[profile] = now
            self.screen.line(f"   {self.names.of(profile)} is typing …", dim=True)

    def _show_connection(self, event: Disconnected | Connected) -> None:
        if isinstance(event, Disconnected):
            if not self._said_down:
                self.screen.line("   offline; what you write waits here", dim=True)
            self._said_down = True
        elif self._said_down:
            self.screen.line("   online again", dim=True)
            self._said_down = False

    def _show_rest(self, event: Event) -> None:
        match event:
            case Gap(from_seq=first, to_seq=last, why=why):
                self.screen.line(f"   messages {first} to {last} cannot be had here: {why.value}", dim=True)
            case Undecryptable(reason=reason):
                self.screen.line(f"   a message came that cannot be opened here: {reason.value}", fg="bright_red")
            case Unsent(text=text):
                self.screen.line(f"   this was not sent: {text}", fg="bright_red")
            case RosterChange(joined=joined, left=left, devices_added=added):
                self._show_roster(joined, left, devices=len(added))

    def _show_roster(self, joined: tuple[ProfileId, ...], left: tuple[ProfileId, ...], *, devices: int) -> None:
        for profile in joined:
            self.screen.line(f"   {self.names.of(profile)} joined", dim=True)
        for profile in left:
            self.screen.line(f"   {self.names.of(profile)} left", dim=True)
        if devices and not joined:
            self.screen.line("   somebody has a new device", dim=True)

    async def _tell_typing(self, keyboard: Keyboard) -> None:
        """Tell the others that something is being typed; commands are nobody's business."""
        told = False
        while self.screen.live:
            await trio.sleep(_TYPING_EVERY)
            typed = keyboard.typed
            typing = bool(typed) and not str(typed).startswith("/")
            if typing or told:
                self.conversation.typing(typing)
            told = typing

    async def _end_when_over(self, scope: trio.CancelScope) -> None:
        await self.over.wait()
        scope.cancel()
