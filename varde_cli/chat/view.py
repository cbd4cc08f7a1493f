"""One conversation on a screen: events are shown, entered lines are sent or run as slash commands."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

import trio

import varde
from varde.events import (
    Break,
    Change,
    Connected,
    Disconnected,
    Event,
    ForkedLog,
    Gap,
    HistoryLost,
    MembershipChange,
    Message,
    NotJoined,
    OwnListChanged,
    Presence,
    Receipt,
    RequestsChanged,
    RootKeyChange,
    RosterChange,
    TranscriptBroken,
    Typing,
    Undecryptable,
    Unknown,
    Unsent,
    Withheld,
)
from varde_cli.chat.terminal import LineInput, Screen, open_lines
from varde_cli.names import Names, load_members
from varde_cli.output import format_time, printable
from varde_cli.run import describe
from varde_contract.ids import ProfileId
from varde_contract.talk import ConversationKind

HISTORY: Final = 20
_NAME_WIDTH: Final = 8
_COLOURS: Final = ("cyan", "magenta", "yellow", "green", "blue", "bright_red")
_TYPING_EVERY: Final = 3.0  # seconds between two looks at the line being typed
_TYPING_SHOWN: Final = 15.0  # seconds in which the same person's typing is shown once
_LATE: Final = 1.5  # seconds after which the person is told that the message waits

_BREAKS: Final = {
    Break.DROPPED: "the server left out messages before number {seq}, and did not say so",
    Break.REORDERED: "message {seq} was written before others that came earlier",
    Break.FORKED: "message {seq} follows other messages than those shown here: the server shows two histories",
    Break.OLD_LISTS: "who wrote message {seq} does not know of a device that came or is gone: a lost one may read it",
    Break.OTHER_LISTS: "who wrote message {seq} was shown other devices of the members than are shown here",
    Break.RESTORED: "the device that wrote message {seq} was restored from a backup",
}

RunSlashCommand: TypeAlias = Callable[["ChatView", str], Awaitable[None]]
"""Runs a line that begins with a slash."""


@dataclass(slots=True)
class ReceiptMarks:
    """Which delivered and read marks are news: the others' positions against the last own message."""

    last: int = 0
    _delivered: dict[ProfileId, int] = field(default_factory=dict)
    _read: dict[ProfileId, int] = field(default_factory=dict)
    _shown: set[tuple[ProfileId, bool]] = field(default_factory=set)

    def sent(self, seq: int) -> None:
        """The last own message has this number: every mark is news again."""
        self.last = seq
        self._shown.clear()

    def take(self, receipt: Receipt) -> bool:
        """Take a receipt; True when it is news about the last own message, to be shown once."""
        positions = self._read if receipt.read else self._delivered
        positions[receipt.profile] = max(receipt.upto, positions.get(receipt.profile, 0))
        if not self.last or receipt.upto < self.last:
            return False
        news = (receipt.profile, receipt.read)
        # Read implies delivered, which is then no news.
        if news in self._shown or (receipt.profile, True) in self._shown:
            return False
        self._shown.add(news)
        return True

    @property
    def read(self) -> Mapping[ProfileId, int]:
        """How far each has read, as far as they disclose it."""
        return self._read


class ChatView:
    """Shows a conversation, and sends what is entered."""

    def __init__(
        self,
        client: varde.Client,
        conversation: varde.Conversation,
        names: Names,
        screen: Screen,
        run_slash_command: RunSlashCommand,
    ) -> None:
        self._run_slash_command = run_slash_command
        self.client = client
        self.conversation = conversation
        self.names = names
        self.screen = screen
        self.receipt_marks = ReceiptMarks()
        self.seen: dict[ProfileId, str] = {}
        self.over = trio.Event()
        self._shown = 0
        self._typing: dict[ProfileId, float] = {}
        self._shown_offline = False

    async def run(self, line_input: LineInput) -> None:
        """Show and send until the input ends or somebody says /quit."""
        await self._show_start()
        async with trio.open_nursery() as nursery, open_lines(line_input) as lines:
            nursery.start_soon(self._show_events)
            nursery.start_soon(self._send_typing, line_input)
            nursery.start_soon(self._cancel_when_over, nursery.cancel_scope)
            async for line in lines:
                self.screen.forget_typed(line)
                await self._enter(line)
            nursery.cancel_scope.cancel()

    async def _show_start(self) -> None:
        await load_members(self.conversation)
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
        name = printable(self.names.of(profile))
        mine = self.names.is_mine(profile)
        colour = None if mine else _COLOURS[profile.int % len(_COLOURS)]
        time = self.screen.style(format_time(moment), dim=True)
        styled = self.screen.style(f"{name:<{_NAME_WIDTH}}", fg=colour, bold=mine)
        first, *rest = printable(text).split("\n")
        indent = " " * (len(format_time(moment)) + _NAME_WIDTH + 2)
        self.screen.write("\n".join((f"{time} {styled} {first}", *(f"{indent}{line}" for line in rest))))

    async def _enter(self, line: str) -> None:
        try:
            if line.startswith("/"):
                await self._run_slash_command(self, line)
            elif line.strip():
                await self._send(line)
        except varde.VardeError as error:
            if isinstance(error, varde.Ended):
                raise
            self.screen.line(f"   {describe(error)}", fg="bright_red")

    async def _send(self, text: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._warn_if_late)
            sent = await self.conversation.send(text)
            nursery.cancel_scope.cancel()
        self._shown = max(self._shown, sent.seq)
        self.receipt_marks.sent(sent.seq)
        self._write(sent.time, self.client.identity.profiles[0].id, f"{text} ✓")

    async def _warn_if_late(self) -> None:
        await trio.sleep(_LATE)
        whom = "them to accept" if self.conversation.waiting else "the relay"
        self.screen.line(f"   waiting for {whom}; what you wrote is kept and goes out by itself", dim=True)

    async def _show_events(self) -> None:
        async for event in self.client.events():
            await self._take(event)

    async def _take(self, event: Event) -> None:  # noqa: C901 - one row for each kind
        match event:
            case Presence():
                self.seen[event.profile] = event.state.value
            case Disconnected() | Connected():
                self._show_connection(event)
            case ForkedLog():
                self.screen.line(f"   WARNING, transparency log: {event.why}")
            case RequestsChanged():
                self.screen.line("   somebody wants to write to you: `varde requests` says who", dim=True)
            case Message() if event.conversation == self.conversation.id:
                await self._take_message(event)
            case Message() if not event.mine:
                self.screen.line(f"   {self.names.of(event.profile)} wrote in another conversation", dim=True)
            case NotJoined():
                where = "other conversations" if event.conversation is None else "a conversation"
                self.screen.line(f"   the relay does not bring what comes in {where}: {event.detail}", fg="bright_red")
            case OwnListChanged():
                self.screen.line("   your devices changed: was it you? `varde devices` lists them", fg="bright_red")
            case RootKeyChange():
                self._show_root_key(event)
            case _ if event.conversation == self.conversation.id:
                self._show_passing(event)

    def _show_root_key(self, change: RootKeyChange) -> None:
        when = "now" if change.effective is None else f"at {format_time(change.effective)}"
        self.screen.line(f"   somebody replaces their recovery phrase {when}: compare safety numbers", fg="bright_red")

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
        if self.screen.live and self.receipt_marks.take(receipt):
            what = "read" if receipt.read else "delivered"
            self.screen.line(f"   ✓✓ {what}: {self.names.of(receipt.profile)}", dim=True)

    def _show_typing(self, profile: ProfileId) -> None:
        now = trio.current_time()
        if self.screen.live and now - self._typing.get(profile, -_TYPING_SHOWN) >= _TYPING_SHOWN:
            self._typing[profile] = now
            self.screen.line(f"   {self.names.of(profile)} is typing …", dim=True)

    def _show_connection(self, event: Disconnected | Connected) -> None:
        if isinstance(event, Disconnected):
            if not self._shown_offline:
                self.screen.line("   offline; what you write waits here", dim=True)
            self._shown_offline = True
        elif self._shown_offline:
            self.screen.line("   online again", dim=True)
            self._shown_offline = False

    def _show_rest(self, event: Event) -> None:
        match event:
            case Gap(from_seq=first, to_seq=last, why=why):
                self.screen.line(f"   messages {first} to {last} cannot be had here: {why.value}", dim=True)
            case Undecryptable(reason=reason):
                self.screen.line(f"   a message came that cannot be opened here: {reason.value}", fg="bright_red")
            case Unknown(profile=profile):
                name = self.names.of(profile)
                self.screen.line(f"   {name} sent something that this version cannot show yet", dim=True)
            case TranscriptBroken(seq=seq, why=why):
                self.screen.line(f"   {_BREAKS[why].format(seq=seq)}", fg="bright_red")
            case HistoryLost(from_seq=first, to_seq=last):
                told = f"   the server has lost numbers {first} to {last}; what this device sent of them goes out again"
                self.screen.line(told, fg="bright_red")
            case Unsent(text=text):
                self.screen.line(f"   this was not sent: {text}", fg="bright_red")
            case MembershipChange():
                self._show_change(event)
            case Withheld(profiles=profiles):
                names = ", ".join(map(self.names.of, profiles)) or "a device of a member"
                self.screen.line(f"   the server keeps what is said here from {names}", fg="bright_red")
            case RosterChange(joined=(), devices_added=added) if added:
                self.screen.line("   somebody has a new device", dim=True)

    def _show_change(self, change: MembershipChange) -> None:
        role = change.role.value if change.role is not None else ""
        whom = self.names.of(change.profile)
        says = {
            Change.CREATED: "began this",
            Change.INVITED: f"invited {whom}",
            Change.ACCEPTED: "joined",
            Change.DECLINED: "declined",
            Change.REMOVED: f"removed {whom}",
            Change.LEFT: "left",
            Change.ROLE: f"made {whom} {role}",
            Change.LINK: "made a link to join by",
            Change.POLICY: "changed the rules",
        }[change.change]
        self.screen.line(f"   {self.names.of(change.by)} {says}", dim=True)

    async def _send_typing(self, line_input: LineInput) -> None:
        """Send `typing` while something is being typed that is no slash command."""
        sent = False
        while self.screen.live:
            await trio.sleep(_TYPING_EVERY)
            typed = line_input.typed
            typing = bool(typed) and not str(typed).startswith("/")
            if typing or sent:
                self.conversation.typing(typing)
            sent = typing

    async def _cancel_when_over(self, scope: trio.CancelScope) -> None:
        await self.over.wait()
        scope.cancel()
