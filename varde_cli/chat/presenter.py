"""What happens when a key is pressed or an event comes: calls to the client, and what they change on the screen."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias

from varde.errors import VardeError
from varde.events import Connected, Disconnected, Receipt, Typing
from varde_cli.chat import model, rows
from varde_cli.chat.history import History
from varde_cli.chat.model import Link, Mode, State
from varde_cli.chat.notices import ANYWHERE, CHANGES_LIST, notice
from varde_cli.chat.remote import Changed, Event, Message, Ref, Remote
from varde_cli.chat.slash_commands import Context, command_of, run_slash_command
from varde_cli.run import Failure, describe
from varde_contract.ids import ConversationId

EMOJI: Final = ("👍", "❤️", "😂", "😮", "😢", "🙏")
Work: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
_TYPING_EVERY_S: Final = 3.0
_LATE_S: Final = 1.5


class Input(Protocol):
    """The text that is being typed."""

    text: str


class Presenter:
    """The state of a chat, and what changes it."""

    def __init__(self, remote: Remote, typed: Input, changed: Callable[[], None], clock: Callable[[], float]) -> None:
        self.state = State()
        self.size = (80, 20)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._remote = remote
        self._input = typed
        self._changed = changed
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._drafts: dict[ConversationId | None, str] = {}
        self._read: dict[ConversationId, int] = {}
        self._history = History(self, remote)
        self._typing_at = 0.0
        self._confirmed: str | None = None

    # State, and the input with it.

    def change(self, state: State) -> None:
        """Show this from now on. The input holds what belongs there: a draft, or the text that is edited."""
        before, self.state = self.state, state
        if (old := _slot(before)) != (new := _slot(state)):
            if old[0] is Mode.WRITE:
                self._drafts[before.open] = self._input.text
            # What is typed before the conversation is there is meant for it.
            if old != (Mode.WRITE, None):
                self._input.text = self._text_for(new)
        self._mark_read()
        self._changed()

    def _text_for(self, slot: tuple[Mode | Ref, ConversationId | None]) -> str:
        kind, conversation = slot
        if isinstance(kind, tuple):
            entry = self.state.talk.find(model.key_of(kind))
            return entry.message.text if entry is not None and entry.message is not None else ""
        return self._drafts.get(conversation, "") if kind is Mode.WRITE else ""

    def tell(self, text: str) -> None:
        """Say something in the status line."""
        self.change(replace(self.state, told=text))

    def start(self, work: Work, *given: object, **named: object) -> None:
        """Do something meanwhile. What is refused is told; what nobody expected ends the chat."""
        self._keep(self._guard(lambda: work(*given, **named), (VardeError, Failure)))

    def start_vital(self, work: Work, *given: object) -> None:
        """Do something without which there is no chat: whatever it raises ends it."""
        self._keep(self._guard(lambda: work(*given), ()))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Work, told: tuple[type[Exception], ...]) -> None:
        try:
            await work()
        except told as error:
            self.tell(describe(error).replace("\n", ". "))
        except Exception as error:  # noqa: BLE001 - raised again where the chat ends
            self.end(error)

    def end(self, how: int | Exception) -> None:
        """End the chat, with an exit code or an error."""
        if self.ended.done():
            return
        if isinstance(how, Exception):
            self.ended.set_exception(how)
        else:
            self.ended.set_result(how)

    async def aclose(self) -> None:
        """Stop what still runs. A message that waits is sent by the client, which has stored it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Beginning, and events.

    async def open_first(self, who: str | None, as_profile: str | None = None) -> None:
        """Load the list; open what is named."""
        if who is not None:
            self.change(replace(self.state, mode=Mode.WRITE))
        me = await self._remote.whoami()
        link = Link(up=True) if me.connected else self.state.link
        self.change(replace(self.state, mine=me.mine, link=link))
        await self.list_chats()
        if who is not None:
            await self.open(await self._remote.open(who, as_profile))

    async def list_chats(self) -> None:
        """Load the list of conversations."""
        chats = await self._remote.chats()  # first: what happens meanwhile must not be undone
        self.change(model.list_chats(self.state, chats))

    async def run_events(self) -> None:
        """Show what happens, for as long as the client lives. Raises why it ended."""
        async for event in self._remote.events():
            self.take(event)

    def take(self, event: Event) -> None:
        """Show one event."""
        state = self.state
        match event:
            case Connected() | Disconnected():
                self.change(model.take_connection(state, event, self._clock()))
            case Message():
                self._take_message(event)
            case Changed():
                self.start(self._reload, event.conversation, event.target)
            case Receipt():
                self.change(model.take_receipt(state, event))
            case Typing():
                self.change(model.take_typing(state, event, self._clock()))
            case _:
                self._take_rest(event)
        if isinstance(event, CHANGES_LIST):
            self.start(self._renew)

    def _take_message(self, message: Message) -> None:
        known = any(each.id == message.conversation for each in self.state.chats)
        self.change(model.take_message(self.state, message))
        if not known:
            self.start(self.list_chats)

    def _take_rest(self, event: Event) -> None:
        said = notice(event, self.state.name)
        if said is None:
            return
        where = getattr(event, "conversation", None)
        if where is None or isinstance(event, ANYWHERE):
            where = self.state.open
        if where is None:
            self.tell(said[0])
        else:
            self.change(model.add_notice(self.state, where, event))

    async def _renew(self) -> None:
        await self.list_chats()
        if self.state.open is not None:
            await self._load_members(self.state.open)

    async def _reload(self, conversation: ConversationId, ref: Ref) -> None:
        # The client judges what an edit or a deletion changes; here is only shown what it says now.
        talk = self.state.talks.get(conversation)
        entry = None if talk is None else talk.find(model.key_of(ref))
        if entry is not None and entry.message is not None:
            page = await self._remote.history(conversation, before=entry.message.seq + 1, limit=1)
            self.change(model.add_messages(self.state, conversation, page))

    async def _load_members(self, conversation: ConversationId) -> None:
        members = await self._remote.members(conversation)
        self.change(model.take_members(self.state, conversation, members))

    # Conversations.

    async def open(self, conversation: ConversationId) -> None:
        """Show a conversation with its last messages."""
        await self._history.load_newest(conversation)
        self.change(model.open_chat(self.state, conversation))
        if self.state.chat is None:
            await self.list_chats()
        await self._load_members(conversation)

    async def show_history(self, conversation: ConversationId, count: int) -> None:
        """Have the last messages in memory, so many."""
        page = await self._remote.history(conversation, limit=count)
        self.change(model.show_newest(self.state, conversation, page, whole=len(page) < count))

    def step(self, by: int) -> None:
        """Open the conversation after, or before, the open one."""
        chats = self.state.chats
        at = next((place for place, each in enumerate(chats) if each.id == self.state.open), -1)
        if chats:
            self.start(self.open, chats[(at + by) % len(chats)].id)

    def _mark_read(self) -> None:
        state = self.state
        # Only what is seen: not while the list covers it, nor while older messages are looked at.
        if state.open is None or state.mode is Mode.PICK or state.anchor is not None or state.talk.detached:
            return
        last = max((each.seq for each in state.talk.messages if not each.mine), default=0)
        if last > self._read.get(state.open, 0):
            self._read[state.open] = last
            self.start(self._remote.mark_read, state.open, last)

    # Keys.

    def enter(self) -> None:
        """Enter: open, send, put on, search, or go to what was found."""
        state, text = self.state, self._input.text
        match state.mode:
            case Mode.PICK if (chat := model.picked(state)) is not None:
                self.start(self.open, chat.id)
            case Mode.WRITE if state.open is not None and text.strip():
                self._enter_text(text)
            case Mode.REACT if text.strip():
                self._react(text.strip())
            case Mode.SEARCH if text.strip():
                self.start(self._history.search, text.strip())
            case Mode.RESULTS if state.hits:
                self.start(self._history.go_to, state.hits[state.picked])

    def _enter_text(self, text: str) -> None:
        state = self.state
        if state.editing is not None:
            self.change(replace(state, editing=None))
            self.start(self._edit, state.editing, text)
            return
        command, said = command_of(text)
        if command is not None:
            self._input.text = ""
            self.start(self._run, command, text)
            return
        self._input.text = ""
        self.start(self._send, said)

    async def _run(self, line: str, text: str) -> None:
        conversation = self.state.open
        assert conversation is not None
        try:
            told = await run_slash_command(Context(self, self._remote, conversation), line)
        except Failure:
            self._put_back(text)
            raise
        for each in told:
            self.change(model.add_notice(self.state, conversation, each))

    async def _send(self, text: str) -> None:
        conversation, reply_to, thread = self.state.open, self.state.reply_to, self.state.thread
        assert conversation is not None
        if self.state.talk.detached:
            await self._history.load_newest(conversation)
        state, entry = model.send_text(self.state, text)
        self.change(state)
        late = asyncio.get_running_loop().call_later(_LATE_S, self.tell, "waits here, and goes out by itself")
        try:
            message = await self._remote.send(conversation, text, reply_to=reply_to, thread=thread)
        except (VardeError, Failure):
            self.change(model.settle(self.state, conversation, entry))
            self._put_back(text)
            raise
        finally:
            late.cancel()
        if message is None:
            self.tell("waits here until they accept, and goes out by itself")
            known = {each.ref for each in self.state.talks[conversation].messages}
            message = await self._remote.wait_stored(conversation, text, known)
        state = model.settle(self.state, conversation, entry)
        self.change(model.take_message(state, message))

    def _put_back(self, text: str) -> None:
        # Nothing that was typed is lost, and nothing that was typed since is written over.
        if not self._input.text and self.state.mode is Mode.WRITE:
            self._input.text = text

    async def _edit(self, ref: Ref, text: str) -> None:
        conversation = self.state.open
        assert conversation is not None
        await self._remote.edit(conversation, ref, text)
        await self._reload(conversation, ref)

    def typed(self) -> None:
        """The text of the input changed."""
        state, now, text = self.state, self._clock(), self._input.text
        if state.mode is Mode.PICK:
            self.change(model.filter_chats(state, text))
        elif state.mode is Mode.REACT and text in {"1", "2", "3", "4", "5", "6"}:
            self._react(EMOJI[int(text) - 1])
        elif state.mode is Mode.WRITE and state.open is not None and state.editing is None:
            active = bool(text.strip()) and command_of(text)[0] is None
            if active and now - self._typing_at >= _TYPING_EVERY_S:
                self._typing_at = now
                self.start(self._remote.typing, state.open, active=True)
            elif not active and self._typing_at:
                self._typing_at = 0.0
                self.start(self._remote.typing, state.open, active=False)

    def move(self, by: int) -> None:
        """Move the selection, up with a negative number."""
        self._confirmed = None
        width, height = self.size
        state = model.move(self.state, by)
        if state.mode is Mode.SELECT:
            state = rows.reveal(state, rows.rows(state, width), height)
        self._moved(state)

    def page(self, by: int) -> None:
        """Move by a page of the screen, up with -1."""
        width, height = self.size
        if self.state.mode in {Mode.PICK, Mode.RESULTS}:
            self.move(by * height)
        else:
            self._moved(rows.page(self.state, rows.rows(self.state, width), height, by))

    def _moved(self, state: State) -> None:
        self.change(state)
        self._history.load_around()

    def escape(self) -> None:
        """Leave the innermost of what is open."""
        self._confirmed = None
        if self.state.mode is Mode.PICK:
            self._input.text = ""
        self._moved(model.leave(self.state))

    def toggle_list(self) -> None:
        """Go to the list of conversations, or back to the open one."""
        mode = Mode.PICK if self.state.mode is not Mode.PICK else Mode.WRITE
        if mode is Mode.PICK or self.state.open is not None:
            self.change(replace(self.state, mode=mode, filter="", selected=None, anchor=None))

    def find(self) -> None:
        """Ask for words to search for."""
        self.change(replace(self.state, mode=Mode.SEARCH))

    def act(self, key: str) -> None:
        """Do with the selected message what a key stands for."""
        message, state = self.state.selection, self.state
        confirmed, self._confirmed = self._confirmed, None
        if message is None or message.deleted:
            return
        write = replace(state, mode=Mode.WRITE, selected=None, anchor=None, told="")
        match key:
            case "r":
                self._moved(replace(write, reply_to=message.ref))
            case "+":
                told = "  ".join(f"{number} {emoji}" for number, emoji in enumerate(EMOJI, 1))
                self.change(replace(state, mode=Mode.REACT, told=told))
            case "e" if message.mine:
                self._moved(replace(write, editing=message.ref))
            case "t":
                self.start(self._history.open_thread, message.conversation, message.thread or message.ref)
            case "d" if message.mine and confirmed == state.selected:
                self.start(self._delete, message)
            case "d" if message.mine:
                self._confirmed = state.selected
                self.tell("d again deletes it for everybody")
            case "d" | "e":
                self.tell("only your own messages can be changed")

    def _react(self, emoji: str) -> None:
        message, conversation = self.state.selection, self.state.open
        self.change(replace(self.state, mode=Mode.WRITE, selected=None, anchor=None, told=""))
        if message is not None and conversation is not None:
            mine = any(each.emoji == emoji and self.state.mine & set(each.profiles) for each in message.reactions)
            self.start(self._put_on, conversation, message.ref, emoji, on=not mine)

    async def _put_on(self, conversation: ConversationId, ref: Ref, emoji: str, *, on: bool) -> None:
        await self._remote.react(conversation, ref, emoji, on=on)
        await self._reload(conversation, ref)

    async def _delete(self, message: Message) -> None:
        await self._remote.delete(message.conversation, message.ref)
        await self._reload(message.conversation, message.ref)
        self.change(model.leave(self.state) if self.state.mode is Mode.SELECT else self.state)

    def reconnect(self) -> None:
        """Try to connect now."""
        self.start(self._remote.reconnect)


def _slot(state: State) -> tuple[Mode | Ref, ConversationId | None]:
    """Return what the input holds."""
    if state.mode in {Mode.PICK, Mode.REACT, Mode.SEARCH}:
        return state.mode, None
    return (Mode.WRITE if state.editing is None else state.editing), state.open
